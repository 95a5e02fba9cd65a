// Who may do what: the table of README, "Deploy", and of shared/src/access.rs, so that nobody is offered what the API
// would refuse. The API decides all the same, and its refusal is shown in its own words.

const INTERACT = ['responder', 'manager'];
const RULES = ['power_analyst', 'administrator'];
const ADMINISTER = ['administrator'];
const ANYBODY = ['reader', 'responder', 'manager', 'analyst', 'power_analyst', 'administrator'];

// operation → relation → the roles of which one is enough; what is not named nobody may do
const TABLE = {
  see: { owner: ANYBODY, sharee: ANYBODY, stranger: ANYBODY, unowned: ANYBODY },
  connect: { owner: INTERACT, sharee: INTERACT, stranger: INTERACT, unowned: INTERACT },
  change_token: { owner: INTERACT },
  share: { owner: INTERACT },
  give_up: { owner: ANYBODY },
  delete_profile: { owner: INTERACT, unowned: ['manager'] },
  create_rule: { owner: RULES, sharee: RULES, stranger: RULES, unowned: RULES },
  change_rule: { owner: RULES, sharee: ADMINISTER, stranger: ADMINISTER, unowned: ADMINISTER },
  remove_user: { stranger: ADMINISTER },
  administer: { owner: ADMINISTER, sharee: ADMINISTER, stranger: ADMINISTER, unowned: ADMINISTER },
};

/** Whether a person may do it to something that they stand in this relation to. */
export const may = (person, operation, relation = 'stranger') =>
  (TABLE[operation][relation] ?? []).some((role) => person.roles.includes(role));

/** How a person stands to a profile. */
export function relation(person, profile) {
  const { users, groups, everybody } = profile.shared_with;
  if (profile.owners.includes(person.subject)) return 'owner';
  if (profile.owners.length === 0) return 'unowned';
  const reached = users.includes(person.subject)
    || groups.some((group) => person.groups.includes(group))
    || (everybody && INTERACT.some((role) => person.roles.includes(role)));
  return reached ? 'sharee' : 'stranger';
}

/** The person that an access token's claims describe, by the deployment's names for the claims. */
export function personOf(claims, { roles_claim, groups_claim }) {
  const names = (claim) => {
    const value = claims[claim];
    if (Array.isArray(value)) return value.filter((name) => typeof name === 'string');
    return typeof value === 'string' ? value.split(/\s+/).filter(Boolean) : [];
  };
  // absent is reader and analyst; present and unknown is nothing
  const roles = roles_claim in claims ? names(roles_claim).filter((role) => ANYBODY.includes(role)) : ['reader', 'analyst'];
  return { subject: claims.sub, name: claims.name ?? claims.email ?? claims.sub, roles, groups: names(groups_claim) };
}

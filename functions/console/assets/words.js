// What the API's names are called for people. A test compares the keys with the API's own description of itself.

export const NETWORKS = {
  facebook: { title: 'Facebook', letter: 'f' },
  instagram: { title: 'Instagram', letter: 'I' },
  x: { title: 'X', letter: 'X' },
  youtube: { title: 'YouTube', letter: 'Y' },
};

export const KINDS = {
  facebook_user: { title: 'Facebook profile', article: 'a', network: 'facebook' },
  facebook_page: { title: 'Facebook Page', article: 'a', network: 'facebook' },
  instagram_account: { title: 'Instagram account', article: 'an', network: 'instagram' },
  x_profile: { title: 'X profile', article: 'an', network: 'x' },
  youtube_channel: { title: 'YouTube channel', article: 'a', network: 'youtube' },
};

/** What can be connected, and what each token will be used for. */
export const CONNECTABLE = [
  { kind: 'facebook_user', token: 'acquisition', gives: 'Find public posts of Facebook Pages, also of Pages that nobody here owns. It will not post anything.' },
  { kind: 'facebook_user', token: 'interaction', gives: 'Publish and reply on Facebook Pages.' },
  { kind: 'facebook_page', token: 'interaction', gives: 'Read and answer private messages, publish, reply, and see who wrote posts and comments. One sign-in connects several Pages.' },
  { kind: 'instagram_account', token: 'acquisition', gives: 'Find public posts on Instagram, also of accounts that nobody here owns. It will not post anything.' },
  { kind: 'x_profile', token: 'interaction', gives: 'Read and answer private messages, publish and reply.' },
  { kind: 'youtube_channel', token: 'interaction', gives: 'Comment on and rate videos, and reply to comments.' },
];

export const tokensOf = (kind) => CONNECTABLE.filter((one) => one.kind === kind);

/** The heading under which a token's section stands. */
export const TOKENS = {
  acquisition: { title: 'Allow data acquisition', name: 'acquisition token' },
  interaction: { title: 'Allow interactions', name: 'interaction token' },
};

export const SWITCHES = {
  search_acquisition: {
    title: 'Use for search acquisition',
    on: 'Workers may search for public posts with this token as soon as a rule asks for it. Nothing is ever posted with it.',
    off: 'As long as this is off, nobody searches with this token.',
  },
  private_messages: {
    title: 'Acquisition of private messages',
    on: 'Workers may read and answer private messages to and from this account as soon as a rule names it. What people wrote in private is then seen here.',
    off: 'As long as this is off, private messages stay at the network.',
  },
};

export const USES = {
  search_acquisition: 'Search acquisition',
  private_messages: 'Private messages',
  publish: 'Publish',
  reply: 'Reply',
  author_info: 'Author information',
  comment: 'Comment',
  rate: 'Rate',
};

/** What a use answers beside `ready`. */
export const HINDRANCES = {
  ready: 'ready',
  not_allowed: 'not allowed yet',
  missing_scope: 'a permission is missing',
  cooling_down: 'resting',
  expired: 'ended',
  needs_reauth: 'sign in again',
};

export const STATES = {
  active: { tone: 'good', title: 'Works' },
  expiring: { tone: 'soon', title: 'Ends soon' },
  cooling_down: { tone: 'soon', title: 'Resting' },
  expired: { tone: 'bad', title: 'Ended' },
  needs_reauth: { tone: 'bad', title: 'Sign in again' },
};

export const PROFILE_STATES = {
  valid: { tone: 'good', title: 'Works' },
  valid_not_mine: { tone: 'soon', title: 'Works, but not by your token' },
  invalid: { tone: 'bad', title: 'Does not work' },
  no_owner: { tone: 'idle', title: 'Without owners' },
};

export const STANDINGS = {
  running: { tone: 'good', title: 'In use' },
  allowed: { tone: 'soon', title: 'Allowed, no rule yet' },
  not_allowed: { tone: 'idle', title: 'Not allowed' },
  expired: { tone: 'bad', title: 'Ended' },
};

export const COLOURS = {
  green: { tone: 'good', title: 'Green' },
  yellow: { tone: 'soon', title: 'Yellow' },
  red: { tone: 'bad', title: 'Red' },
};

export const REASONS = {
  revoked_by_user: 'The app was removed in the settings of the account.',
  password_changed: 'The password of the account was changed.',
  checkpoint: 'The network wants its owner to sign in there and settle something first.',
  role_lost: 'Whoever signed in lost the role on it.',
  refresh_rejected: 'The network refused to renew it.',
  lost_answer: 'The network renewed it and its answer was lost.',
  expired: 'Its time was over before it was renewed.',
  app_removed: 'The app was removed or lost its access.',
  restored: 'It was brought back from a backup, and what renews it may have been used up since.',
  policy: 'A policy of the organisation, or a protection of the account, does not allow the app.',
  no_channel: 'The account at the network has no channel.',
  account_closed: 'The account or channel was closed.',
  account_suspended: 'The network suspended the account or channel.',
  app_in_testing: 'The app is still in testing at the network, where sign-ins last seven days.',
};

/** Why a connect session ended without a token: the heading above the API's own words. */
export const ENDINGS = {
  access_denied: 'Access was not granted',
  foreign_account: 'That was another account',
  code_rejected: 'The sign-in took too long',
  missing_refresh_token: 'The network gave nothing to keep it alive with',
  rate_limited: 'The network limits the app for now',
  network_unavailable: 'The network did not answer',
  app_rejected: 'The network does not accept the app',
  permission_missing: 'A permission is missing',
  no_account: 'There is nothing to connect',
  wrong_issuer: 'The answer came from somewhere else',
  network_refused: 'The network did not confirm the sign-in',
  unavailable: 'It could not be kept just now',
  session_expired: 'The sign-in took longer than ten minutes',
};

export const NOTICES = {
  token_expiring: 'will end soon',
  token_expired: 'has ended',
  token_needs_reauth: 'needs you to sign in again',
  acquisition_yellow: 'one token left for acquisition',
  acquisition_red: 'acquisition has stopped',
};

export const EVENTS = {
  connected: 'connected',
  reauthenticated: 'reauthenticated',
  allowed: 'turned a switch of',
  token_deleted: 'deleted the token of',
  profile_deleted: 'deleted',
  shared: 'changed with whom to share',
  given_up: 'gave up',
  user_removed: 'removed a user',
  leased: 'leased a token of',
  refreshed: 'renewed the token of',
  warned: 'warned about',
  expired: 'saw the end of',
  died: 'found dead',
  erased: 'erased, because its network asked for the person,',
  acquisition_worsened: 'saw acquisition get worse',
  rule_created: 'made a rule',
  rule_changed: 'changed a rule',
  rule_deleted: 'deleted a rule',
  settings_changed: 'changed the settings',
};

/** Why an address is not written to any more. */
export const TROUBLES = {
  bounced: 'mail to it comes back',
  complained: 'its reader does not want it',
};

export const REVOCATIONS = {
  revoked: 'It is revoked at the network, too.',
  pending: 'It will be revoked at the network as soon as that answers; you need do nothing.',
  shared: 'At the network it was left alone, because another token lives on the same grant.',
  impossible: 'The network offers no way to end it from here: remove the app in the settings of the account there.',
};

export const WITHOUT_ROLE = 'The role on it allows nothing that a token is used for.';
export const words = (name) => name.replaceAll('_', ' ');
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

//! The rules of the house, held against the code itself: who may import whom, what a function can reach, which routes
//! are open, and that every security requirement has the test that SECURITY.md names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use sandbox::template::{Function, Template};

const FUNCTIONS: [&str; 10] = [
    "authorizer",
    "console",
    "expiry-sweep",
    "leases",
    "oauth-callback",
    "oauth-start",
    "provider-events",
    "spill-reader",
    "token-claims",
    "tokens",
];

/// The modules of `shared` that do no I/O, and what they can do without.
const PURE: [&str; 13] = [
    "profile", "access", "ladder", "token", "health", "secret", "seal", "network", "connect", "settings", "rule",
    "history", "renewal",
];
const IMPURE: [&str; 5] = ["aws_config", "aws_sdk_", "reqwest", "tokio", "std::fs"];

/// What a function holds, and what it is given for that: variables of its environment, resources of its role (with the
/// action, where others have another use for the resource).
const REACH: [(&str, &[&str], &[&str]); 7] = [
    ("Vault", &["VAULT_TABLE"], &["${Vault.Arn}"]),
    ("Flows", &["FLOWS_TABLE"], &["${Flows.Arn}"]),
    ("TenantKeys", &["KEYS_TABLE", "KMS_KEY"], &["${Keys.Arn}", "${Key.Arn}"]),
    ("Apps", &["APPS_SECRET"], &["${Apps}"]),
    ("Mailer", &["MAIL_FROM", "MAIL_EVENTS"], &["identity/${MailFrom}", "configuration-set/${MailEvents}"]),
    ("Spill", &["SPILL_QUEUE"], &["sqs:SendMessage ${SpillQueue.Arn}"]),
    ("DueQueue", &["DUE_QUEUE"], &["sqs:SendMessage ${DueQueue.Arn}", "sqs:GetQueueAttributes ${DueQueue.Arn}"]),
];

/// The requirements that are met by now; the others wait for their features.
const MET: &str = "S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S25 S26 S27 S28 S29 S30 S31 S32 \
                   S33 S34 S35 S36 S37 S38 S38a S39 S40 S41 S42 S43 S44 S45 S46 S47 S48 S49 S50 S51 S52 S53 S54 S55 S56 \
                   S57 S58 S59 S60 S61 S62 S63 S64 S65 S66 S67 S68 S69 S70 S71 S72 S73 S77 S78 S79";

#[test]
fn a_function_imports_shared_and_no_other_function() {
    for function in FUNCTIONS {
        let mut others = FUNCTIONS.to_vec();
        others.extend(["sandbox", "tests"]);
        let dependencies = dependencies(&format!("functions/{function}"));
        assert!(dependencies.contains("shared"), "{function} has the domain of its own");
        assert!(others.iter().all(|other| !dependencies.contains(*other)), "{function} imports {dependencies:?}");
    }
}

#[test]
fn the_operators_command_imports_shared_and_no_function() {
    let dependencies = dependencies("operator");
    assert!(dependencies.contains("shared"));
    assert!(FUNCTIONS.iter().all(|function| !dependencies.contains(*function)), "{dependencies:?}");
}

#[test]
fn nothing_but_the_tests_imports_the_sandbox() {
    assert!(!dependencies("shared").contains("sandbox"));
    assert!(!dependencies("operator").contains("sandbox"));
    assert!(dependencies("tests").contains("sandbox"));
}

#[test]
fn a_module_of_shared_imports_those_above_it_alone() {
    let lib = text(&root().join("shared/src/lib.rs"));
    let order: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(order.len() > 10, "lib.rs declares the modules, from pure to impure: {order:?}");
    for file in rust_files("shared/src") {
        let module = module_of(&file);
        let Some(place) = order.iter().position(|known| *known == module) else { continue };
        for imported in imports(&production_code(&file)) {
            let above = order[..=place].contains(&imported.as_str());
            assert!(above, "{} imports {imported}, which stands below {module} in lib.rs", file.display());
        }
    }
}

#[test]
fn the_pure_modules_do_no_input_or_output() {
    for file in rust_files("shared/src").into_iter().filter(|file| PURE.contains(&module_of(file).as_str())) {
        let code = production_code(&file);
        for impure in IMPURE {
            assert!(!code.contains(impure), "{} uses {impure}", file.display());
        }
    }
}

#[test]
fn files_are_short() {
    for file in all_rust_files() {
        let lines = text(&file).lines().count();
        assert!(lines < 1000, "{} has {lines} lines", file.display());
        if lines > 500 {
            println!("{} has {lines} lines: it is asking for a second idea", file.display());
        }
    }
}

#[test]
fn a_main_is_a_parts_list() {
    for function in FUNCTIONS {
        let lines = main_of(function).lines().count();
        assert!(lines <= 50, "functions/{function}/src/main.rs has {lines} lines");
    }
}

#[test]
fn the_template_deploys_the_functions_that_are_there() {
    let mut deployed: Vec<_> = Template::deployed().functions.iter().map(|function| function.name.as_str()).collect();
    deployed.sort_unstable();
    assert_eq!(deployed, FUNCTIONS);
}

#[test]
fn a_function_reads_the_environment_that_the_template_gives_it() {
    for function in &Template::deployed().functions {
        let given: BTreeSet<_> = function.environment.keys().cloned().collect();
        let mut read = variables(&main_of(&function.name));
        read.remove("NETWORK_ENDPOINT"); // the sandbox's own; accepted for loopback addresses alone
        read.insert("STAGE".to_owned()); // every function's: its metrics are of this stage
        assert_eq!(read, given, "{}: what main.rs reads, and what template.yaml gives", function.name);
    }
}

#[test]
fn a_function_reaches_what_its_struct_holds_and_nothing_else() {
    for function in &Template::deployed().functions {
        let main = main_of(&function.name);
        for (held, variables, resources) in REACH {
            let holds = main.contains(&format!("{held}::"));
            for variable in variables {
                assert_eq!(function.environment.contains_key(*variable), holds, "{}: {variable}", function.name);
            }
            for resource in resources {
                assert_eq!(may_use(function, resource), holds, "{}: {resource}", function.name);
            }
        }
    }
}

// S66
#[test]
fn an_http_function_ends_before_the_api_gives_up() {
    let template = Template::deployed();
    for route in &template.routes {
        let function = template.functions.iter().find(|function| function.name == route.function).unwrap();
        assert!(function.timeout < 29, "{} may take {} s", function.name, function.timeout);
    }
}

#[test]
fn one_tls_stack_and_one_http_stack_are_compiled() {
    let lock = text(&root().join("Cargo.lock"));
    for name in ["rustls", "hyper"] {
        assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "versions of {name}");
    }
    for name in ["native-tls", "openssl", "openssl-sys"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}

#[test]
fn every_requirement_that_is_met_is_listed_with_its_tests() {
    let listed = listed_tests();
    for number in MET.split(' ') {
        let tests = listed.get(number).map_or(0, BTreeSet::len);
        assert!(tests > 0, "SECURITY.md names no test for {number}");
    }
}

#[test]
fn security_md_and_the_tests_agree() {
    let marked: BTreeSet<_> = all_rust_files().iter().flat_map(|file| marked_tests(&text(file))).collect();
    let listed: BTreeSet<_> = listed_tests()
        .into_iter()
        .flat_map(|(number, tests)| tests.into_iter().map(move |test| (number.clone(), test)))
        .collect();
    let unmarked: Vec<_> = listed.difference(&marked).collect();
    let unlisted: Vec<_> = marked.difference(&listed).collect();
    assert!(unmarked.is_empty(), "SECURITY.md lists tests that no comment with the number stands above: {unmarked:#?}");
    assert!(unlisted.is_empty(), "SECURITY.md does not list these tests yet: {unlisted:#?}");
}

#[test]
fn the_marks_of_a_test_are_read() {
    let code = "// S22, S38a\n#[test]\nfn a_row_that_was_moved_stays_closed() {\n    // S1 is not about this\n    x();\n}\n\nfn other() {}";
    let test = |number: &str| (number.to_owned(), "a_row_that_was_moved_stays_closed".to_owned());
    assert_eq!(marked_tests(code), [test("S22"), test("S38a")]);
    assert_eq!(imports("use crate::{a::{b, c}, d};\nlet x = crate::e::f();"), ["a", "d", "e"]);
}

/// Number → tests, from the table of SECURITY.md: number, what is required, names of tests in backticks.
fn listed_tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut listed = BTreeMap::new();
    for line in text(&root().join("SECURITY.md")).lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", number, _, tests, ""] = cells[..] else { continue };
        let tests: BTreeSet<_> = tests
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|name| name.rsplit("::").next())
            .map(str::to_owned)
            .collect();
        if is_number(number) && !tests.is_empty() {
            listed.insert(number.to_owned(), tests);
        }
    }
    listed
}

/// The tests that stand under a comment such as `// S22, S23`, once for each number.
fn marked_tests(code: &str) -> Vec<(String, String)> {
    let mut tests = Vec::new();
    let mut numbers: Vec<&str> = Vec::new();
    for line in code.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("// ") {
            numbers.extend(comment.split([' ', ',']).take_while(|word| is_number(word) || word.is_empty()));
            numbers.retain(|number| !number.is_empty());
        } else if let Some((_, signature)) = line.split_once("fn ") {
            let name = signature.split(['(', '<']).next().unwrap_or_default();
            tests.extend(numbers.drain(..).map(|number| (number.to_owned(), name.to_owned())));
        } else if !line.starts_with("#[") && !line.starts_with("///") {
            numbers.clear();
        }
    }
    tests
}

fn is_number(word: &str) -> bool {
    word.strip_prefix('S').is_some_and(|digits| digits.starts_with(|first: char| first.is_ascii_digit()))
}

/// The modules of the same crate that `code` names.
fn imports(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            modules.push(first_word(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !character.is_whitespace() => {
                    modules.push(first_word(&list[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    modules
}

fn first_word(code: &str) -> String {
    code.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// The string literals that look like variables of an environment.
fn variables(code: &str) -> BTreeSet<String> {
    let named = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.chars().all(|character| character.is_ascii_uppercase() || character == '_')
    };
    code.split('"').skip(1).step_by(2).filter(named).map(str::to_owned).collect()
}

fn may_use(function: &Function, use_of: &str) -> bool {
    let (action, resource) = use_of.split_once(' ').map_or((None, use_of), |(action, rest)| (Some(action), rest));
    let mut statements = function.statements.iter();
    statements.any(|statement| {
        action.is_none_or(|action| statement.actions.iter().any(|allowed| allowed == action))
            && statement.resources.iter().any(|allowed| allowed.ends_with(resource))
    })
}

fn main_of(function: &str) -> String {
    text(&root().join("functions").join(function).join("src/main.rs"))
}

/// The crates that a crate depends on, its development included.
fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = text(&root().join(krate).join("Cargo.toml"));
    let section = manifest.split("\n[").filter(|section| section.contains("dependencies]"));
    let names = section.flat_map(str::lines).filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What a file holds before its own tests, without comments.
pub(crate) fn production_code(file: &Path) -> String {
    let text = text(file);
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("//")).collect()
}

/// `shared/src/store/flows.rs` belongs to `store`.
fn module_of(file: &Path) -> String {
    let inner = file.strip_prefix(root().join("shared/src")).expect("a file of shared");
    let first = inner.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn all_rust_files() -> Vec<PathBuf> {
    ["functions", "operator", "sandbox", "shared", "tests"].into_iter().flat_map(rust_files).collect()
}

pub(crate) fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

pub(crate) fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

//! What is built is what was looked at: dependencies are locked, audited and listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use crate::architecture::{root, text};

fn fields<'a>(package: &'a str, name: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
}

// S73
#[test]
fn every_dependency_is_locked_by_its_checksum_and_comes_from_crates_io() {
    let lock = text(&root().join("Cargo.lock"));
    let packages: Vec<_> = lock.split("[[package]]\n").skip(1).collect();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let mut own = Vec::new();
    for package in packages {
        let name = fields(package, "name").unwrap();
        match (fields(package, "source"), fields(package, "checksum")) {
            (None, None) => own.push(name),
            (Some("registry+https://github.com/rust-lang/crates.io-index"), Some(checksum)) => {
                assert_eq!(checksum.len(), 64, "{name}");
            }
            (source, checksum) => panic!("{name} comes from {source:?} with {checksum:?}"),
        }
    }
    let mut members: Vec<_> = fs::read_dir(root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    members.extend(["operator", "refresh-model", "shared", "sandbox", "tests", "workspace-hack"].map(str::to_owned));
    members.sort_unstable();
    own.sort_unstable();
    assert_eq!(own, members, "packages without a source, and members of the workspace");
}

// S73
#[test]
fn what_is_not_from_crates_io_not_freely_licensed_or_a_second_tls_stack_is_refused() {
    let rules = text(&root().join("deny.toml"));
    for refusal in
        ["unknown-registry = \"deny\"", "unknown-git = \"deny\"", "wildcards = \"deny\"", "yanked = \"deny\""]
    {
        assert!(rules.lines().any(|line| line.trim() == refusal), "deny.toml does not say {refusal}");
    }
    for refused in ["native-tls", "openssl", "openssl-sys", "ring", "rustls:<0.23", "hyper:<1"] {
        assert!(rules.contains(&format!("crate = \"{refused}\"")), "deny.toml does not refuse {refused}");
    }
    assert!(!rules.contains("ignore"), "an advisory is mended and not ignored");
}

// S73
#[test]
fn what_builds_or_checks_keeps_to_the_lock() {
    let mut seen = 0;
    for script in ["tests/run", ".ci/run", ".ci/advisories", ".ci/sbom", "template.yaml"] {
        let script_text = text(&root().join(script)).replace("\\\n", " ");
        for line in script_text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let words: Vec<_> =
                line.split(|character: char| character.is_whitespace() || "$()".contains(character)).collect();
            let builds = ["build", "test", "bench", "clippy", "doc", "install", "tree", "run", "metadata"];
            let cargo = words.windows(2).any(|pair| pair[0] == "cargo" && builds.contains(&pair[1]));
            if cargo || words.iter().any(|word| word.ends_with("/cargo-deny")) {
                assert!(line.contains("--locked"), "{script}: {line}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "{seen} commands were seen");
    for requirements in ["tests/requirements.txt", ".ci/requirements.txt"] {
        let listed = text(&root().join(requirements));
        for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(line.contains("=="), "{requirements}: {line}");
        }
    }
}

/// Every crate that a build compiles, with the features that it is compiled with.
fn features(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let tree = ["tree", "--locked", "--prefix", "none", "--format", "{p}|{f}"];
    let answer = Command::new(env!("CARGO")).args(tree).args(arguments).current_dir(root()).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let mut features = BTreeMap::<_, BTreeSet<_>>::new();
    for line in String::from_utf8(answer.stdout).unwrap().lines() {
        let Some((package, with)) = line.split_once('|') else { continue };
        features.entry(package.replace(" (proc-macro)", "")).or_default().insert(with.replace(" (*)", ""));
    }
    features
}

#[test]
fn every_build_compiles_dependencies_with_the_features_of_the_workspace() {
    // what is built for the host, proc macros above all, is another build of the same crate
    for [with_tests, without] in
        [["normal,dev,no-proc-macro", "normal,no-proc-macro"], ["normal,build,dev", "normal,build"]]
    {
        assert_same_features(with_tests, without);
    }
}

fn assert_same_features(with_tests: &str, without: &str) {
    let workspace = features(&["--workspace", "--edges", with_tests]);
    let members = text(&root().join("Cargo.lock"));
    let members = members.split("[[package]]\n").skip(1).filter(|package| fields(package, "source").is_none());
    let members = members.map(|package| fields(package, "name").unwrap()).filter(|name| *name != "workspace-hack");
    let tested = members.map(|package| (package, with_tests));
    let run = [("sandbox", without), ("operator", without)];
    for (package, edges) in tested.chain(run) {
        for (dependency, with) in features(&["--package", package, "--edges", edges]) {
            let missing: Vec<_> = with.difference(&workspace[&dependency]).collect();
            assert!(
                missing.is_empty(),
                "{package} compiles {dependency} with {missing:?}, the workspace with {:?}: name the difference in \
                 tests/workspace-hack/Cargo.toml",
                workspace[&dependency]
            );
        }
    }
}

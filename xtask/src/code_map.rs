//! Whether the code map of `ARCHITECTURE.md` says what the manifests do.

use std::collections::BTreeSet;
use std::path::Path;

/// The crates of the map, in its order.
fn code_map(page: &str) -> Vec<String> {
    let table = page.split("| crate | what |").nth(1).unwrap_or_default();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','));
    names.map(|name| name.trim().trim_matches('`').to_owned()).collect()
}

/// What a manifest depends on, but for its tests and its build script.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let sections = manifest.split("\n[").filter(|section| section.starts_with("dependencies]"));
    let lines = sections.flat_map(|section| section.lines().skip(1));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn dependencies_point_up_the_code_map_and_every_crate_is_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let map = code_map(&read(&root.join("ARCHITECTURE.md")));
    let mut crates: BTreeSet<String> = ["benches", "xtask", "fuzz"].map(str::to_owned).into();
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        crates.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    assert_eq!(crates, map.iter().cloned().collect(), "the code map has other crates than there are");
    let mut edges = 0;
    for (place, name) in map.iter().enumerate() {
        let dir = if root.join("crates").join(name).is_dir() { root.join("crates").join(name) } else { root.join(name) };
        for needed in dependencies(&read(&dir.join("Cargo.toml"))) {
            let Some(of) = map.iter().position(|one| *one == needed.strip_prefix("watchkeeper-").unwrap_or(&needed)) else {
                continue;
            };
            assert!(of < place, "{name} depends on {needed}, which stands below it in ARCHITECTURE.md");
            edges += 1;
        }
    }
    assert!(edges > 60, "{edges}: the manifests were not read");
}

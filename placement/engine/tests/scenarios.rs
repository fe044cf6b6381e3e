//! Scenarios: a fleet, a policy and a workload in, the decision and its report out. Each file under `golden/` is one;
//! what stands below `== decision` is what the engine says. `UPDATE_EXPECT=1` rewrites it.

use std::path::Path;

use placement_engine::scenario::{self, Scenario};

#[test]
fn every_scenario_comes_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40, "the scenarios are there");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (given, _) = scenario::split(&text);
        let decision = match Scenario::parse(given) {
            Ok(scenario) => scenario.report(),
            Err(flaws) => panic!("{}: {flaws:?}", file.display()),
        };
        expect_test::expect_file![&file].assert_eq(&scenario::with_decision(&text, &decision));
    }
}

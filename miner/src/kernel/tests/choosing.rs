//! How a row is chosen, over a table made for the purpose.

use super::*;

const fn never() -> bool {
    false
}

static ROWS: &[Kernel] = &[
    Kernel { name: "future", lanes: 64, available: never, scan: scalar::scan },
    Kernel { name: "good", lanes: 4, available: always, scan: scalar::scan },
    Kernel { name: "plain", lanes: 1, available: always, scan: scalar::scan },
];

fn name_of(name: Option<&str>) -> Result<&'static str, KernelError> {
    choose_from(ROWS, name).map(|kernel| kernel.name)
}

#[test]
fn without_a_name_the_first_available_row_is_chosen() {
    assert_eq!(name_of(None), Ok("good"));
    assert!(choose(None).is_ok());
}

#[test]
fn a_name_chooses_its_row() {
    assert_eq!(name_of(Some("plain")), Ok("plain"));
    for kernel in KERNELS.iter().filter(|kernel| (kernel.available)()) {
        assert_eq!(choose(Some(kernel.name)).unwrap().name, kernel.name);
    }
}

#[test]
fn a_row_that_cannot_run_is_refused() {
    let error = name_of(Some("future")).unwrap_err();
    let text = "this CPU cannot run kernel \"future\", it can run: good, plain";
    assert_eq!(error.to_string(), text);
}

#[test]
fn an_unknown_name_is_refused() {
    let error = name_of(Some("Plain")).unwrap_err();
    let text = "no kernel is called \"Plain\", this machine can run: good, plain";
    assert_eq!(error.to_string(), text);
}

use super::*;

/// Long enough for a few batches of a slow build.
const SECONDS: f64 = 0.1;

#[test]
fn measure_counts_what_was_done() {
    let kernel = kernel::choose(None).unwrap();
    let measured = measure(kernel, 2, SECONDS, Pin::AnyCore);
    assert_eq!((measured.kernel, measured.threads), (kernel.name, 2));
    assert!(measured.hashes > 0);
    assert!(measured.seconds >= SECONDS, "{measured:?}");
    assert!(measured.spread >= 0.0, "{measured:?}");
}

#[test]
fn run_reports_a_row_for_each_kernel_and_number_of_threads() {
    let scalar = kernel::choose(Some("scalar")).unwrap();
    let sha2 = kernel::choose(Some("sha2")).unwrap();
    let mut seen = Vec::new();
    let report = run(&[sha2, scalar], &[1, 2], SECONDS, Pin::OneCoreEach, &mut |row| {
        seen.push((row.kernel, row.threads));
    });
    assert_eq!(seen, [("sha2", 1), ("sha2", 2), ("scalar", 1), ("scalar", 2)]);
    let rows: Vec<_> = report.rows.iter().map(|row| (row.kernel, row.threads)).collect();
    assert_eq!(rows, seen);
    for row in &report.rows {
        let expected = row.hashes_per_second / report.baseline.hashes_per_second;
        assert!((row.ratio_to_baseline - expected).abs() < 1e-9, "{row:?}");
    }
}

#[test]
fn summary_is_the_median_and_its_spread() {
    let start = now();
    let sample = |seconds, hashes| Sample { at: start + Duration::from_secs(seconds), hashes };
    // Runs of 100, 400 and 200 hashes a second.
    let samples = [sample(0, 50), sample(1, 150), sample(2, 550), sample(4, 950)];
    let summary = summarise("some", 3, &samples);
    let expected = Measurement {
        kernel: "some",
        threads: 3,
        hashes: 900,
        seconds: 4.0,
        hashes_per_second: 200.0,
        spread: 1.5,
        unpinned: None,
    };
    assert_eq!(summary, expected);
}

#[test]
fn report_has_the_documented_json_form() {
    let report = Report {
        cpu: "some CPU".to_owned(),
        baseline: Baseline { name: BASELINE_NAME, hashes_per_second: 2.0 },
        rows: vec![Row {
            kernel: "scalar",
            threads: 4,
            hashes_per_second: 3.0,
            ratio_to_baseline: 1.5,
            spread: 0.25,
        }],
        clock_hertz: 30.0,
        unpinned: None,
    };
    let cycles = report.cycles_per_hash(&report.rows[0]);
    assert!((cycles - 40.0).abs() < 1e-9, "4 threads of 30 Hz for 3 hashes a second: {cycles}");
    let expected = concat!(
        r#"{"cpu":"some CPU","baseline":{"name":"sha2-midstate","hashes_per_second":2.0},"#,
        r#""rows":[{"kernel":"scalar","threads":4,"hashes_per_second":3.0,"#,
        r#""ratio_to_baseline":1.5,"spread":0.25}]}"#,
    );
    assert_eq!(serde_json::to_string(&report).unwrap(), expected);
}

#[test]
fn cpu_name_is_the_first_model_name() {
    let text =
        "processor\t: 0\nmodel\t\t: 2\nmodel name\t: Some CPU @ 2: fast\n\nmodel name\t: B\n";
    assert_eq!(model_name(text), Some("Some CPU @ 2: fast"));
    assert_eq!(model_name("processor : 0\n"), None);
    assert_eq!(model_name("model name :\n"), None);
}

#[test]
fn fastest_tries_every_row_that_can_run_and_sorts_them() {
    let trials = fastest();
    let available = kernel::KERNELS.iter().filter(|row| (row.available)());
    assert_eq!(trials.len(), available.count());
    assert!(trials.is_sorted_by(|a, b| a.hashes_per_second >= b.hashes_per_second));
    assert!(trials.iter().all(|trial| trial.hashes_per_second > 0.0), "{trials:?}");
}

#[test]
fn clock_is_that_of_a_cpu() {
    let hertz = clock::hertz();
    assert!((1e7..2e10).contains(&hertz), "{hertz}");
}

//! The picture of a measurement: one bar for each kernel and number of threads, as SVG.

use std::error::Error;

use miner::bench::{Report, Row};
use plotters::prelude::*;

const WIDTH_PX: u32 = 800;
/// Of one bar with the space around it, and of all that is not bars.
const BAR_PX: u32 = 32;
const FRAME_PX: u32 = 110;

/// Draws hash rates by kernel and threads; numbers of threads differ in colour.
pub(super) fn svg(report: &Report) -> String {
    let mut picture = String::new();
    draw(report, &mut picture).expect("a picture in memory can always be drawn");
    picture
}

fn draw(report: &Report, picture: &mut String) -> Result<(), Box<dyn Error>> {
    let rows = &report.rows;
    let count = u32::try_from(rows.len())?;
    let root =
        SVGBackend::with_string(picture, (WIDTH_PX, FRAME_PX + BAR_PX * count)).into_drawing_area();
    root.fill(&WHITE)?;
    let fastest = rows.iter().map(mega_hashes).fold(0.0, f64::max);
    // The first row stands on top: bars are counted from below.
    let label = |at: &SegmentValue<u32>| match at {
        SegmentValue::CenterOf(at) if *at < count => label(&rows[(count - 1 - at) as usize]),
        _ => String::new(),
    };
    let mut chart = ChartBuilder::on(&root)
        .caption(&report.cpu, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..fastest * 1.12, (0..count).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len())
        .y_label_formatter(&label)
        .x_max_light_lines(1)
        .x_desc("million hashes a second")
        .draw()?;
    for (at, row) in (0..count).rev().zip(rows) {
        let rate = mega_hashes(row);
        let corners = [(0.0, SegmentValue::Exact(at)), (rate, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, Palette99::pick(row.threads).filled());
        bar.set_margin(5, 5, 0, 0);
        chart.draw_series([bar])?;
        let text = Text::new(
            format!("{rate:.1}"),
            (rate + fastest * 0.01, SegmentValue::CenterOf(at)),
            ("sans-serif", 13),
        );
        chart.draw_series([text])?;
    }
    root.present()?;
    Ok(())
}

fn mega_hashes(row: &Row) -> f64 {
    row.hashes_per_second / 1e6
}

fn label(row: &Row) -> String {
    format!("{} x{}", row.kernel, row.threads)
}

#[cfg(test)]
mod tests {
    use miner::bench::Baseline;

    use super::*;

    fn row(kernel: &'static str, threads: usize, hashes_per_second: f64) -> Row {
        Row { kernel, threads, hashes_per_second, ratio_to_baseline: 1.0, spread: 0.0 }
    }

    #[test]
    fn every_row_has_its_bar() {
        let report = Report {
            cpu: "some CPU".to_owned(),
            baseline: Baseline { name: "sha2-midstate", hashes_per_second: 1e6 },
            rows: vec![row("wide", 1, 9e6), row("wide", 2, 17.5e6), row("scalar", 1, 1e6)],
            clock_hertz: 1e9,
            unpinned: None,
        };
        let picture = svg(&report);
        assert!(picture.starts_with("<svg"), "{picture}");
        for text in ["some CPU", "wide x1", "wide x2", "scalar x1", "17.5"] {
            assert!(picture.contains(text), "{text} is missing: {picture}");
        }
    }
}

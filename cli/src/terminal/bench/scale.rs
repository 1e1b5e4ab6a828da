//! `bench scale` and `bench prove` on the terminal.

use std::error::Error;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use plotters::prelude::*;

use super::{TerminalError, print, progress_bar, shows};
use crate::args::Global;
use crate::bench::{ProveArgs, ProveReport, ScaleArgs, ScaleReport, ScaleRow};

const MIB: f64 = 1024.0 * 1024.0;

/// Of one panel of the picture.
const PANEL_PX: (u32, u32) = (400, 240);

pub(super) fn scale(global: &Global, args: &ScaleArgs) -> Result<(), TerminalError> {
    let bar = progress_bar("writing");
    let measured = |row: &ScaleRow| {
        let ScaleRow { keys, puts_per_second, start_s, p50_ms, .. } = row;
        bar.suspend(|| {
            eprintln!(
                "{keys} keys: {puts_per_second:.0} puts/s, start in {start_s:.2} s, \
                 get in {p50_ms:.3} ms"
            );
        });
    };
    let report = crate::bench::scale(args, &|what, share| shows(&bar, what, share), &measured);
    bar.finish_and_clear();
    let report = report?;
    let value = serde_json::to_value(&report).expect("a report has only plain fields");
    print(global, &value, |_| scale_table(&report))?;
    args.plot.as_ref().map_or(Ok(()), |path| {
        std::fs::write(path, svg(&report))
            .map_err(|source| TerminalError::Io { path: path.clone(), source })
    })
}

pub(super) fn prove(global: &Global, args: &ProveArgs) -> Result<(), TerminalError> {
    let bar = progress_bar("writing");
    let report = crate::bench::prove(args, &|what, share| shows(&bar, what, share));
    bar.finish_and_clear();
    let report = report?;
    let value = serde_json::to_value(&report).expect("a report has only plain fields");
    print(global, &value, |_| prove_table(&report))
}

fn scale_table(report: &ScaleReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "keys",
        "puts/s",
        "MiB",
        "peak MiB",
        "B/key",
        "B written",
        "stop s",
        "start s",
        "gets/s",
        "p50 ms",
        "p99 ms",
        "proof ms",
        "proof B",
    ]);
    for row in &report.rows {
        let mib = |bytes: Option<u64>| optional(bytes.map(|bytes| bytes as f64 / MIB));
        table.add_row([
            row.keys.to_string(),
            format!("{:.0}", row.puts_per_second),
            mib(row.resident_bytes),
            mib(row.peak_resident_bytes),
            format!("{:.0}", row.kept_bytes_per_key),
            optional(row.disk_bytes_per_put),
            format!("{:.2}", row.stop_s),
            format!("{:.2}", row.start_s),
            format!("{:.0}", row.gets_per_second),
            format!("{:.3}", row.p50_ms),
            format!("{:.3}", row.p99_ms),
            format!("{:.3}", row.prove_p50_ms),
            row.proof_bytes.to_string(),
        ]);
    }
    table.to_string()
}

/// A figure that not every system tells.
fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "?".to_string(), |value| format!("{value:.0}"))
}

fn prove_table(report: &ProveReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "keys",
        "proofs/s",
        "p50 ms",
        "p99 ms",
        "verified/s",
        "bytes",
        "steps",
        "absence bytes",
        "file bytes",
    ]);
    for row in &report.rows {
        table.add_row([
            row.keys.to_string(),
            format!("{:.0}", row.proofs_per_second),
            format!("{:.3}", row.p50_ms),
            format!("{:.3}", row.p99_ms),
            format!("{:.0}", row.verifications_per_second),
            row.proof_bytes.to_string(),
            row.proof_steps.to_string(),
            row.absence_bytes.to_string(),
            row.file_bytes.to_string(),
        ]);
    }
    table.to_string()
}

/// One line in a panel: its name, and what it shows of a row.
type Line = (&'static str, fn(&ScaleRow) -> f64);

/// The panels: what they show, in which unit.
const PANELS: [(&str, &[Line]); 6] = [
    ("get, ms", &[("p50", |row| row.p50_ms), ("p99", |row| row.p99_ms)]),
    ("proof, ms", &[("p50", |row| row.prove_p50_ms), ("p99", |row| row.prove_p99_ms)]),
    ("puts a second", &[("confirmed", |row| row.puts_per_second)]),
    (
        "memory, MiB",
        &[
            ("now", |row| row.resident_bytes.unwrap_or_default() as f64 / MIB),
            ("peak", |row| row.peak_resident_bytes.unwrap_or_default() as f64 / MIB),
        ],
    ),
    ("start and stop, s", &[("start", |row| row.start_s), ("stop", |row| row.stop_s)]),
    (
        "bytes a key",
        &[
            ("kept", |row| row.kept_bytes_per_key),
            ("written", |row| row.disk_bytes_per_put.unwrap_or_default()),
        ],
    ),
];

/// Draws what grows over the number of keys, as SVG.
fn svg(report: &ScaleReport) -> String {
    let mut picture = String::new();
    draw(report, &mut picture).expect("a picture in memory can always be drawn");
    picture
}

fn draw(report: &ScaleReport, picture: &mut String) -> Result<(), Box<dyn Error>> {
    let (width, height) = PANEL_PX;
    let root = SVGBackend::with_string(picture, (3 * width, 2 * height)).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = &report.rows;
    let keys = |row: &ScaleRow| row.keys as f64;
    let (fewest, most) = (keys(&rows[0]), rows.last().map_or(0.0, keys));
    for (area, (caption, lines)) in root.split_evenly((2, 3)).iter().zip(PANELS) {
        let values = lines.iter().flat_map(|(_, value)| rows.iter().map(value));
        let top = values.fold(0.0, f64::max).max(1e-9) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d((fewest * 0.9..most * 1.1).log_scale(), 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|keys| format!("{keys:.0}"))
            .draw()?;
        for (number, (name, value)) in lines.iter().enumerate() {
            let colour = Palette99::pick(number).to_rgba();
            let points: Vec<(f64, f64)> = rows.iter().map(|row| (keys(row), value(row))).collect();
            let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(dots)?;
            let line = PathElement::new(points, colour.stroke_width(2));
            let legend =
                move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
            chart.draw_series([line])?.label(*name).legend(legend);
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .draw()?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(keys: u64) -> ScaleRow {
        ScaleRow {
            keys,
            puts_per_second: 40_000.0,
            cpu_us_per_put: Some(20.0),
            disk_bytes_per_put: Some(3000.0),
            resident_bytes: Some(100 << 20),
            peak_resident_bytes: None,
            kept_bytes_per_key: 800.0,
            stop_s: 0.1,
            start_s: 0.2,
            gets_per_second: 10_000.0,
            p50_ms: 0.1,
            p99_ms: 0.2,
            prove_p50_ms: 0.2,
            prove_p99_ms: 0.3,
            proof_bytes: 800,
            proof_steps: 20,
        }
    }

    #[test]
    fn every_panel_is_drawn() {
        for counts in [&[10_u64][..], &[10_000, 100_000, 1_000_000]] {
            let report = ScaleReport { rows: counts.iter().copied().map(row).collect() };
            let picture = svg(&report);
            assert!(picture.starts_with("<svg"), "{picture}");
            for (caption, lines) in PANELS {
                for text in lines.iter().map(|(name, _)| *name).chain([caption]) {
                    assert!(picture.contains(text), "{text} is missing: {picture}");
                }
            }
        }
    }
}

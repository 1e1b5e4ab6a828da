//! Pictures of measurements, as SVG: how blocks and transactions spread, and how that scales.

use std::error::Error;

use plotters::prelude::*;

use super::table::{PERCENTS, Row, median_of};

const SIZE_PX: (u32, u32) = (720, 360);

/// A line in a picture: its name and its points.
type Line = (String, Vec<(f64, f64)>);

/// What stands on the axes.
struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
}

/// How many nodes have a payload when, for each way in the rows: the median over seeds.
pub fn spread(title: &str, rows: &[&Row]) -> String {
    let lines = by_way(rows, |rows| {
        let at = |percent: usize| {
            let time = |row: &Row| row.time_ms(percent).map(|ms| ms as f64 / 1000.0);
            Some((median_of(rows, time)?.0, percent as f64))
        };
        PERCENTS.into_iter().filter_map(at).collect()
    });
    let axes = Axes { title, x: "seconds", y: "% of nodes" };
    picture(&axes, &lines)
}

/// Something by the number of nodes, for each way in the rows: the median over seeds.
pub fn scaling(title: &str, y: &str, rows: &[&Row], of: impl Fn(&Row) -> Option<f64>) -> String {
    let lines = by_way(rows, |rows| {
        let mut counts: Vec<usize> = rows.iter().map(|row| row.nodes).collect();
        counts.sort_unstable();
        counts.dedup();
        let at = |nodes: usize| {
            let same: Vec<&Row> = rows.iter().copied().filter(|row| row.nodes == nodes).collect();
            Some((nodes as f64, median_of(&same, &of)?.0))
        };
        counts.into_iter().filter_map(at).collect()
    });
    picture(&Axes { title, x: "nodes", y }, &lines)
}

fn by_way(rows: &[&Row], points: impl Fn(&[&Row]) -> Vec<(f64, f64)>) -> Vec<Line> {
    let mut ways: Vec<&str> = rows.iter().map(|row| row.way.as_str()).collect();
    ways.sort_unstable();
    ways.dedup();
    let line = |way: &str| {
        let same: Vec<&Row> = rows.iter().copied().filter(|row| row.way == way).collect();
        (way.to_string(), points(&same))
    };
    ways.into_iter().map(line).collect()
}

fn picture(axes: &Axes<'_>, lines: &[Line]) -> String {
    let mut text = String::new();
    draw(axes, lines, &mut text).expect("a picture in memory can always be drawn");
    text
}

fn draw(axes: &Axes<'_>, lines: &[Line], text: &mut String) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::with_string(text, SIZE_PX).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|point| point.0).fold(0.0, f64::max) * 1.05;
    let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(&root)
        .caption(axes.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    let mesh = &mut chart.configure_mesh();
    mesh.disable_mesh().label_style(("sans-serif", 14)).x_desc(axes.x).y_desc(axes.y).draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).mix(1.0);
        let line = PathElement::new(points.clone(), colour.stroke_width(2));
        let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
        chart
            .draw_series([line])?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart.draw_series(dots)?;
    }
    let labels = &mut chart.configure_series_labels();
    labels
        .label_font(("sans-serif", 14))
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK);
    labels.draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::table::parse;
    use super::*;

    #[test]
    fn every_way_has_its_line() {
        let row = |way: &str, nodes: usize, ms: u64| {
            let times = [ms; PERCENTS.len()].map(|ms| ms.to_string()).join(",");
            let counted = "9,1.0,5.0,5.0,7.0,6.0,1.0,0,1.0";
            format!("block,{way},{nodes},1,9,250,95,none,10,false,100,0,{counted},{times}")
        };
        let text = [row("graven", 100, 500), row("graven", 300, 800), row("flood", 100, 400)];
        let rows = parse(&text.join("\n")).unwrap();
        let rows: Vec<&Row> = rows.iter().collect();
        for svg in [spread("a", &rows), scaling("a", "bytes", &rows, |row| Some(row.bytes_mean))] {
            assert!(svg.starts_with("<svg"), "{svg}");
            assert!(svg.contains("graven") && svg.contains("flood"), "{svg}");
            assert!(svg.matches("<circle").count() >= 3, "{svg}");
        }
    }
}

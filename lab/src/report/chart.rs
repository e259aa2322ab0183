//! Line charts as SVG: what grows how with the number of peers.

use std::io::{self, Write};

use crate::markup::escape;

/// A chart: one quantity against another, a line a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What is shown, with its unit.
    pub title: String,
    /// The lines.
    pub series: Vec<Series>,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its points, by increasing x.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
/// How many charts stand beside each other.
const ACROSS: usize = 2;
/// Up to this ratio between the largest and the smallest value an axis is linear.
const LINEAR: f64 = 20.0;
/// Told apart on paper and by the colour-blind.
const COLORS: [&str; 6] = ["#2468ad", "#c26a00", "#22863a", "#a23c78", "#4d5a69", "#7552b3"];
const DASHES: [&str; 6] = ["", "5 3", "2 2", "8 3 2 3", "1 3", "6 2"];

/// Writes the charts below a title, two beside each other. `x` is what all of them have to the
/// right.
///
/// # Errors
/// What `out` says.
pub fn write(title: &str, x: &str, charts: &[Chart], out: &mut dyn Write) -> io::Result<()> {
    let across = charts.len().clamp(1, ACROSS);
    let rows = charts.len().div_ceil(across);
    let (width, height) = (WIDTH * across as f64, 34.0 + HEIGHT * rows as f64);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" font-size=\"11\">"
    )?;
    writeln!(out, "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>")?;
    writeln!(out, "<text x=\"14\" y=\"24\" font-size=\"15\" font-weight=\"600\">{}</text>", escape(title))?;
    for (i, chart) in charts.iter().enumerate() {
        let (left, top) = (WIDTH * (i % across) as f64, 34.0 + HEIGHT * (i / across) as f64);
        writeln!(out, "<g transform=\"translate({left} {top})\">")?;
        one(chart, x, out)?;
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")
}

fn one(chart: &Chart, x_title: &str, out: &mut dyn Write) -> io::Result<()> {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let across = Axis::new(points().map(|(x, _)| x), LEFT, WIDTH - RIGHT);
    let up = Axis::new(points().map(|(_, y)| y), HEIGHT - BOTTOM, TOP);
    writeln!(out, "<text x=\"{LEFT}\" y=\"22\" font-weight=\"600\">{}</text>", escape(&chart.title))?;
    for (value, text) in up.ticks() {
        let y = up.place(value);
        let end = WIDTH - RIGHT;
        writeln!(out, "<path d=\"M{LEFT} {y:.1}H{end}\" stroke=\"#dedad1\" stroke-width=\".7\"/>")?;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#55544f\">{text}</text>",
            LEFT - 7.0,
            y + 4.0
        )?;
    }
    let base = HEIGHT - BOTTOM;
    writeln!(out, "<path d=\"M{LEFT} {base}H{}\" stroke=\"#55544f\"/>", WIDTH - RIGHT)?;
    for (value, text) in across.ticks() {
        let x = across.place(value);
        writeln!(out, "<path d=\"M{x:.1} {base}v4\" stroke=\"#55544f\"/>")?;
        writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#55544f\">{text}</text>",
            base + 16.0
        )?;
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#55544f\">{}</text>",
        base + 33.0,
        escape(x_title)
    )?;
    let mut labels = Vec::new();
    for (i, series) in chart.series.iter().enumerate() {
        let places: Vec<_> = series.points.iter().map(|(x, y)| (across.place(*x), up.place(*y))).collect();
        line(&places, COLORS[i % COLORS.len()], DASHES[i % DASHES.len()], out)?;
        labels.extend(places.last().map(|(_, y)| (*y, i)));
    }
    // A name stands at the end of its line, or as near as the others leave room.
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = TOP;
    for (y, _) in &mut labels {
        *y = y.max(free);
        free = *y + 13.0;
    }
    let mut free = base;
    for (y, _) in labels.iter_mut().rev() {
        *y = y.min(free);
        free = *y - 13.0;
    }
    for (y, i) in labels {
        let (x, color) = (WIDTH - RIGHT + 6.0, COLORS[i % COLORS.len()]);
        writeln!(
            out,
            "<text x=\"{x}\" y=\"{:.1}\" fill=\"{color}\">{}</text>",
            y + 4.0,
            escape(&chart.series[i].name)
        )?;
    }
    Ok(())
}

fn line(places: &[(f64, f64)], color: &str, dashes: &str, out: &mut dyn Write) -> io::Result<()> {
    let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    writeln!(
        out,
        "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\" stroke-dasharray=\"{dashes}\"/>",
        path.join("L")
    )?;
    for (x, y) in places {
        writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{color}\"/>")?;
    }
    Ok(())
}

/// Values along a line: logarithmic where they span much, else linear from zero.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    begin: f64,
    end: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, begin: f64, end: f64) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let high = finite.clone().fold(0.0, f64::max);
        let smallest = finite.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let has_zero = finite.clone().any(|value| value <= 0.0);
        let logarithmic = !has_zero && smallest.is_finite() && high / smallest > LINEAR;
        let (low, high) = if logarithmic {
            // Whole powers of ten around the values.
            (10f64.powf(smallest.log10().floor()), 10f64.powf(high.log10().ceil()))
        } else {
            (0.0, if high > 0.0 { high * 1.08 } else { 1.0 })
        };
        Self { low, high, logarithmic, begin, end }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.begin + share * (self.end - self.begin)
    }

    /// Where there are marks, and what stands there.
    fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let mut value = self.low;
            // A value is at most 10^308, so there are not many.
            while value <= self.high * 1.0001 {
                ticks.push((value, number(value)));
                value *= 10.0;
            }
        } else {
            let rough = self.high / 4.0;
            let power = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
            let step = step.unwrap_or(rough);
            let mut value = 0.0;
            while value <= self.high {
                ticks.push((value, number(value)));
                value += step;
            }
        }
        ticks
    }
}

/// `0.5`, `20`, `10k`, `2M`.
fn number(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_logarithmic_where_values_span_much() {
        let axis = Axis::new([1_000.0, 1_000_000.0].into_iter(), 0.0, 300.0);
        assert_eq!(
            axis.ticks().iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>(),
            ["1000", "10k", "100k", "1M"]
        );
        assert!((axis.place(10_000.0) - 100.0).abs() < 1e-6 && (axis.place(1e6) - 300.0).abs() < 1e-6);
        let axis = Axis::new([2.0, 7.0].into_iter(), 0.0, 100.0);
        assert_eq!(axis.ticks().iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>(), ["0", "2", "4", "6"]);
        assert!(axis.place(0.0).abs() < 1e-9 && axis.place(7.0) < 100.0);
        // Nothing to show is no reason to fail.
        assert!(Axis::new([0.0].into_iter(), 0.0, 1.0).place(0.0).is_finite());
        assert!(Axis::new(std::iter::empty(), 0.0, 1.0).ticks().len() > 1);
    }

    #[test]
    fn every_point_is_drawn_and_names_are_escaped() {
        let series = |name: &str, factor: f64| Series {
            name: name.into(),
            points: vec![(1e3, factor), (1e4, factor * 2.0), (1e5, factor * 30.0)],
        };
        let chart =
            Chart { title: "a < b".into(), series: vec![series("mean", 1.0), series("p99 & more", 5.0)] };
        let mut bytes = Vec::new();
        write("cost", "peers", &[chart.clone(), chart], &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("<circle").count(), 12);
        assert!(text.contains("a &lt; b") && text.contains("p99 &amp; more") && !text.contains("NaN"));
    }
}

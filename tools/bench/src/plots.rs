//! The plots of the report, as SVG.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::intake::{Intake, Row};

const SIZE: (u32, u32) = (860, 360);
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 95, 153), RGBColor(200, 85, 0), RGBColor(90, 120, 40), RGBColor(120, 120, 120)];

/// Draws `cpu.svg` and `latency.svg` into a folder.
pub(crate) fn draw(intake: &Intake, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    cpu(intake, &folder.join("cpu.svg")).map_err(|error| anyhow!("cpu.svg: {error}"))?;
    latency(intake, &folder.join("latency.svg")).map_err(|error| anyhow!("latency.svg: {error}"))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// CPU time per booking of every subject, at 16 connections and a backend that responds at once.
fn cpu(intake: &Intake, file: &Path) -> Drawn {
    let rows: Vec<&Row> = intake.rows.iter().filter(|row| row.is_setting(16, 0)).collect();
    let most = rows.iter().map(|row| row.cpu_us_per_booking.max).fold(1.0, f64::max);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "CPU time of a booking, µs (16 connections, backend 0 ms; line: least to greatest round)",
            ("sans-serif", 16),
        )
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(190)
        .build_cartesian_2d(0.0..most * 1.1, (0..rows.len()).into_segmented())?;
    let label = |position: &SegmentValue<usize>| match position {
        SegmentValue::CenterOf(index) => {
            rows.get(*index).map_or_else(String::new, |row| row.subject.label().to_owned())
        }
        _ => String::new(),
    };
    chart.configure_mesh().disable_y_mesh().y_label_formatter(&label).y_labels(rows.len()).draw()?;
    for (index, row) in rows.iter().enumerate() {
        let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or(BLACK);
        let cpu = row.cpu_us_per_booking;
        let corners = [(0.0, SegmentValue::Exact(index)), (cpu.median, SegmentValue::Exact(index + 1))];
        let mut bar = Rectangle::new(corners, colour.filled());
        bar.set_margin(10, 10, 0, 0);
        chart.draw_series([bar])?;
        let span = [(cpu.min, SegmentValue::CenterOf(index)), (cpu.max, SegmentValue::CenterOf(index))];
        chart.draw_series([PathElement::new(span, BLACK.stroke_width(2))])?;
        let text =
            Text::new(format!(" {:.0}", cpu.median), (cpu.max, SegmentValue::CenterOf(index)), ("sans-serif", 14));
        chart.draw_series([text])?;
    }
    area.present()?;
    Ok(())
}

/// The component's p50 by connections, one line a backend.
fn latency(intake: &Intake, file: &Path) -> Drawn {
    let component = intake.rows.first().map(|row| row.subject);
    let rows: Vec<&Row> =
        intake.rows.iter().filter(|row| Some(row.subject) == component && row.rate.is_none()).collect();
    let most = rows.iter().map(|row| row.p50_ms.median).fold(1.0, f64::max);
    let connections = rows.iter().map(|row| row.connections).max().unwrap_or(1) as f64;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Component: p50 of a booking, ms, by connections", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..connections.max(2.0)).log_scale(), 0.0..most * 1.1)?;
    chart.configure_mesh().x_desc("connections").y_desc("ms").draw()?;
    let mut backends: Vec<u64> = rows.iter().map(|row| row.backend_ms).collect();
    backends.sort_unstable();
    backends.dedup();
    for (index, backend) in backends.into_iter().enumerate() {
        let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or(BLACK);
        let mut points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| row.backend_ms == backend)
            .map(|row| (row.connections as f64, row.p50_ms.median))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(3))?
            .label(format!("backend {backend} ms"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}

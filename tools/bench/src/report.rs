//! The figures, for people and for programs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::machine::{Machine, Measured};
use crate::page::Page;
use crate::plots;
use crate::results::Results;
use crate::sections::{COLD_START, DRAIN, END_TO_END, FUNCTION_START, GROWTH, HOST_CALLS, INTAKE, SLOTS, WORKERS};
use crate::targets::{self, COSTS, Target};

/// The figures as data.
const FILE: &str = "benchmarks.json";

impl Results {
    /// What [`Results::write`] wrote into a folder; nothing where it never did.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(&file)?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} has a part of another version of the benchmark: remove the part, and measure it anew",
                file.display()
            )
        })
    }

    /// Writes `benchmarks.json`, `benchmarks.md` and the plots into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        #[derive(Serialize)]
        struct File<'a> {
            targets: Vec<Target>,
            #[serde(flatten)]
            results: &'a Results,
        }
        let json = serde_json::to_string_pretty(&File { targets: self.targets(), results: self })?;
        fs::write(folder.join(FILE), json + "\n")?;
        if let Some(intake) = &self.intake {
            plots::draw(&intake.figures, &folder.join("benchmarks"))?;
        }
        fs::write(folder.join("benchmarks.md"), self.markdown())?;
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut page = Page::default();
        page.line("# Benchmarks");
        page.line("");
        page.line("Written by `cargo xtask bench`; do not edit. `cargo xtask bench PART` measures a part anew and leaves the others as they are. The figures as data: [benchmarks.json](benchmarks.json).");
        page.line("");
        if self.quick {
            page.line("**This is the quick form: unoptimised programs, one short round. The figures mean nothing.**");
            page.line("");
        }
        page.heading("What it must reach");
        let targets = self.targets().into_iter().chain(targets::elsewhere()).map(|target| {
            let met = target.met.map_or("not measured", |met| if met { "yes" } else { "**no**" });
            vec![
                target.what.to_owned(),
                target.target,
                target.measured.unwrap_or_default(),
                met.to_owned(),
                target.why.unwrap_or_default().to_owned(),
            ]
        });
        page.table(&["what", "target", "measured", "met", "why not"], targets);
        page.machines(&self.machines());
        let intake = self.intake.as_ref().map(|measured| &measured.figures);
        if let Some(intake) = intake {
            page.intake(intake);
        }
        if let Some(host_calls) = &self.host_calls {
            page.host_calls(&host_calls.figures);
        }
        if let Some(cold_start) = &self.cold_start {
            page.cold_start(&cold_start.figures, intake);
        }
        if let Some(function_start) = &self.function_start {
            page.function_start(&function_start.figures);
        }
        if let Some(workers) = &self.workers {
            page.workers(&workers.figures);
        }
        if let Some(end_to_end) = &self.end_to_end {
            page.end_to_end(&end_to_end.figures);
        }
        if let Some(growth) = &self.growth {
            page.growth(&growth.figures);
        }
        if let Some(slots) = &self.slots {
            page.slots(&slots.figures);
        }
        if let Some(drain) = &self.drain {
            page.drain(&drain.figures);
        }
        page.line(COSTS.trim_end());
        page.0
    }

    /// What each part was measured on, by the part's heading.
    fn machines(&self) -> Vec<(&'static str, &Machine)> {
        fn of<T>(measured: Option<&Measured<T>>) -> Option<&Machine> {
            measured.map(|measured| &measured.machine)
        }
        let parts = [
            (INTAKE, of(self.intake.as_ref())),
            (HOST_CALLS, of(self.host_calls.as_ref())),
            (COLD_START, of(self.cold_start.as_ref())),
            (FUNCTION_START, of(self.function_start.as_ref())),
            (WORKERS, of(self.workers.as_ref())),
            (END_TO_END, of(self.end_to_end.as_ref())),
            (GROWTH, of(self.growth.as_ref())),
            (SLOTS, of(self.slots.as_ref())),
            (DRAIN, of(self.drain.as_ref())),
        ];
        parts.into_iter().filter_map(|(heading, machine)| Some((heading, machine?))).collect()
    }
}

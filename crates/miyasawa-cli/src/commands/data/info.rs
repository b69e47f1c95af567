use crate::commands::{Outcome, eval::share_bar, model};
use crate::output::shown;
use crate::session::{Session, WrongCall};
use clap::Args;
use miyasawa::data::{DataSource, Part, Summary};
use serde_json::json;
use std::path::PathBuf;

/// Classes and images of each that the figure shows.
const SHOWN: [usize; 2] = [10, 8];

/// Tell what a data set holds: counts, classes, sizes, mean and standard deviation, and a figure of samples.
///
/// Example: miyasawa data info tiny-imagenet --limit 5000 -o samples.png
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Info {
    /// digits, fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], cifar100[:DIR], tiny-imagenet[:DIR], or a path
    data: String,
    /// Measure so many images of each part, evenly spaced over it [default: all]
    #[arg(long)]
    limit: Option<usize>,
    /// Write images of ten classes as one figure
    #[arg(short, long, alias = "output")]
    out: Option<PathBuf>,
}

pub fn run(args: &Info, session: &Session) -> anyhow::Result<Outcome> {
    if args.limit == Some(0) {
        return Err(WrongCall("--limit is 0, expected at least 1".into()).into());
    }
    if let Some(path) = &args.out {
        model::check_output(path)?;
    }
    let source: DataSource = args.data.parse()?;
    let described = source.describe()?;
    let bar = share_bar(session, "measuring");
    let parts = described.measure(args.limit, &mut |share| bar.set_position((share * 1000.0) as u64))?;
    bar.finish_and_clear();
    if let Some(path) = &args.out {
        described.grid(SHOWN[0], SHOWN[1])??.save(path)?;
    }
    if session.json {
        let parts: Vec<_> = parts
            .iter()
            .map(|(part, summary)| {
                let mut value = serde_json::to_value(summary).unwrap_or_default();
                value["part"] = json!(part.map(|part| part.to_string()));
                value
            })
            .collect();
        let document = json!({
            "data": args.data, "classes": described.classes(), "parts": parts, "figure": args.out.as_deref().map(shown),
        });
        session.print_json(&document)?;
        return Ok(Outcome::Done);
    }
    outln!("{}: {} classes", args.data, described.classes().len());
    for (part, summary) in &parts {
        print(*part, summary);
    }
    let counts = parts.iter().map(|(_, summary)| &summary.class_counts);
    let counts: Vec<&Vec<usize>> = counts.collect();
    for (class, name) in described.classes().iter().enumerate().take(LISTED) {
        let of_class: Vec<String> = counts.iter().map(|counts| counts[class].to_string()).collect();
        outln!("  {class:>4}  {name}: {}", of_class.join(" + "));
    }
    if described.classes().len() > LISTED {
        outln!("  and {} more classes", described.classes().len() - LISTED);
    }
    if let Some(path) = &args.out {
        outln!("samples: {}", path.display());
    }
    Ok(Outcome::Done)
}

/// Classes that are listed where a person reads.
const LISTED: usize = 20;

fn print(part: Option<Part>, summary: &Summary) {
    let part = part.map_or("all".to_owned(), |part| part.to_string());
    let side = |[low, high]: [usize; 2]| if low == high { low.to_string() } else { format!("{low}-{high}") };
    let colour = if summary.channels == 1 { "grey" } else { "colour" };
    let list = |values: &[f64]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
    outln!(
        "{part}: {} images, {colour}, {}x{} (height x width)",
        summary.count,
        side(summary.height),
        side(summary.width)
    );
    let of = if summary.measured < summary.count {
        format!(" of {} of them", summary.measured)
    } else {
        String::new()
    };
    outln!("  mean {}, standard deviation {}{of}", list(&summary.mean), list(&summary.std));
    outln!("  sigma_data {:.4} in the [-1, 1] range", summary.sigma_data);
    if summary.broken > 0 {
        outln!("  {} cannot be decoded", summary.broken);
    }
}

//! Plots as SVG, inside a page that needs nothing from elsewhere: no scripts, no fonts, no files.
//!
//! What is measured may be anything; what is drawn lies inside the view box. So every value goes through a [`Scale`], which
//! clamps, and every text through [`escaped`].

pub mod bars;
pub mod lines;
mod scale;

use std::fmt::Write as _;

pub use scale::Scale;

use super::super::contender::{Contender, Peer};

/// Text that is text in HTML and SVG, also between quotes.
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Characters that no document may have.
            control if control.is_control() && !control.is_whitespace() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
        escaped
    })
}

/// The same colour for the same contender in all plots. `index`: which of the settings of pogu in its case it is.
pub fn colour(contender: Contender, index: usize) -> &'static str {
    match contender {
        Contender::Pogu(_) if index == 0 => "#0b63ce",
        Contender::Pogu(_) => "#5aa7ff",
        Contender::Peer(peer) => match peer {
            Peer::Tokio => "#e07b00",
            Peer::TokioMt => "#a85500",
            Peer::Compio => "#1f9d57",
            Peer::Monoio => "#86b817",
            Peer::Smol => "#9a57cf",
            Peer::Asio => "#d1306b",
            Peer::Libuv => "#8d7037",
            Peer::Epoll => "#4f7f86",
            Peer::Limit => "#8c8c8c",
        },
    }
}

/// Where a text is fixed.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A line in a colour.
    pub fn stroke(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\"/>"
        ));
    }

    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        self.push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{colour}\"/>"));
    }

    pub fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        ));
    }

    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// The whole element. The title is for whoever cannot see it.
    pub fn finish(self, title: &str) -> String {
        let Svg { width, height, body } = self;
        let title = escaped(title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             role=\"img\">\n<title>{title}</title>\n{body}</svg>\n"
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Panics unless each element is closed in order, and attributes are quoted.
    pub(in super::super) fn assert_is_well_formed(document: &str) {
        let (mut open, mut rest) = (Vec::new(), document);
        while let Some(begin) = rest.find('<') {
            let text = &rest[..begin];
            assert!(!text.contains('>'), "a bracket in the text: {text}");
            let end = rest[begin..].find('>').expect("the element ends") + begin;
            let inner = &rest[begin + 1..end];
            rest = &rest[end + 1..];
            let name = inner.trim_start_matches('/').split([' ', '/', '\n']).next().expect("a name");
            assert!(inner.matches('"').count().is_multiple_of(2) && !inner.contains('<'), "{inner}");
            if inner.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{inner}");
            } else if !inner.ends_with('/') && !inner.starts_with('!') && name != "meta" {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "left open: {open:?}");
        for (at, _) in document.match_indices('&') {
            let entity = document[at + 1..].split(';').next().unwrap_or_default();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "{entity}");
        }
    }

    /// The values of an attribute in all elements.
    fn attribute(svg: &str, name: &str) -> Vec<f64> {
        let opening = format!(" {name}=\"");
        let values = svg.split(opening.as_str()).skip(1).filter_map(|rest| rest.split('"').next());
        values.map(|value| value.parse().expect("a number")).collect()
    }

    /// Panics unless everything that is drawn lies inside the view box. How many points there are.
    pub(in super::super) fn assert_is_inside(svg: &str) -> usize {
        let view = svg.split("viewBox=\"0 0 ").nth(1).and_then(|rest| rest.split('"').next()).expect("a view box");
        let (width, height) = view.split_once(' ').expect("two numbers");
        let [width, height] = [width, height].map(|number| number.parse::<f64>().expect("a number"));
        let lists = svg.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let points = lists.flat_map(|list| list.split(' ')).map(|point| {
            let (x, y) = point.split_once(',').expect("two numbers");
            (x.parse::<f64>().expect("a number"), y.parse::<f64>().expect("a number"))
        });
        let points: Vec<(f64, f64)> = points.collect();
        let pairs = |x: &str, y: &str| attribute(svg, x).into_iter().zip(attribute(svg, y)).collect::<Vec<_>>();
        let all = [points, pairs("cx", "cy"), pairs("x", "y"), pairs("x1", "y1"), pairs("x2", "y2")].concat();
        for (x, y) in &all {
            assert!(
                (0.0..=width).contains(x) && (0.0..=height).contains(y),
                "{x},{y} is outside of {width} x {height}"
            );
        }
        for bar in svg.split("<rect").skip(1) {
            let number = |name| attribute(bar, name).first().copied().expect("it is told");
            let (right, foot) = (number("x") + number("width"), number("y") + number("height"));
            assert!(number("width") >= 0.0 && right <= width && foot <= height, "{right},{foot}");
        }
        all.len()
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let nasty = "</text><script>alert(\"1\" & '2')</script>\u{0}";
        assert_eq!(
            escaped(nasty),
            "&lt;/text&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;\u{fffd}"
        );
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 1.0), Anchor::End, nasty);
        let svg = svg.finish(nasty);
        assert_is_well_formed(&svg);
        assert!(!svg.contains("<script"));
    }

    #[test]
    #[should_panic(expected = "is outside of")]
    fn the_check_sees_what_is_outside() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.stroke(&[(1.0, 1.0), (11.0, 1.0)], "red", 1.0);
        assert_is_inside(&svg.finish("x"));
    }

    #[test]
    #[should_panic(expected = "left open")]
    fn the_check_sees_what_is_open() {
        assert_is_well_formed("<svg><g></g>");
    }

    #[test]
    fn no_two_contenders_have_the_same_colour() {
        use clap::ValueEnum;
        let pogu = Contender::window(0);
        let peers = Peer::value_variants().iter().map(|peer| colour(Contender::Peer(*peer), 0));
        let mut colours: Vec<&str> = peers.chain([colour(pogu, 0), colour(pogu, 1)]).collect();
        colours.sort_unstable();
        let all = colours.len();
        colours.dedup();
        assert_eq!(colours.len(), all);
    }
}

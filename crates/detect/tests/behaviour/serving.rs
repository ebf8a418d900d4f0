//! How models serve the company: how soon first words come, what calls cost, how answers look. With what is ordinary of it: load by the hour,
//! days and hiccups of the provider, caches, prices, and work that differs from person to person and so from hour to hour.

use crate::company::{Chance, DAY_S, FIRST_DAY, Happening};

/// What a call of a model tells beside tokens and time.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) first_chunk_ms: Option<f64>,
    pub(crate) cost: Option<f64>,
    pub(crate) finish: &'static str,
    /// Whether the text of the answer has structured data; none where there is no text.
    pub(crate) is_structured: Option<bool>,
    pub(crate) calls_tools: bool,
    pub(crate) version: String,
    pub(crate) endpoint: &'static str,
}

/// The providers. They have chances of their own, so that who asks what is the same with them and without.
pub(crate) struct Serving {
    seed: u64,
    chance: Chance,
    /// From this day on the assistant has a second region: a move, and nothing wrong.
    second_region: u32,
}

/// Habits that answers to one person show.
struct Habits {
    cut_off: f64,
    structured: f64,
    calls_tools: f64,
}

impl Serving {
    pub(crate) fn new(seed: u64, days: u32) -> Self {
        Self { seed, chance: Chance::new(seed ^ 0x5e1f), second_region: days / 2 }
    }

    /// Serves what is asked on a day.
    pub(crate) fn serve(&mut self, happenings: &mut [Happening]) {
        for happening in happenings.iter_mut().filter(|one| one.model.is_some() && one.served.is_none()) {
            let load = self.load(happening);
            happening.latency_ms *= load;
            happening.served = Some(self.served(happening, load));
        }
    }

    /// How busy a provider's model is: a wave a day, days better and worse, and now and then an hour at less than half the speed.
    fn load(&self, happening: &Happening) -> f64 {
        let model = happening.model.as_deref().unwrap_or_default();
        let hour = happening.time_s / 3_600;
        let mut of_day = Chance::new(self.of(&[model, "day", &(hour / 24).to_string()]));
        let mut of_hour = Chance::new(self.of(&[model, "hour", &hour.to_string()]));
        let wave = 1.0 + 0.2 * (((hour % 24) as f64 - 9.0) / 24.0 * std::f64::consts::TAU).sin();
        let hiccup = if of_hour.is(0.002) { 1.8 } else { 1.0 };
        wave * (of_day.normal() * 0.06).exp() * (of_hour.normal() * 0.05).exp() * hiccup
    }

    fn served(&mut self, happening: &Happening, load: f64) -> Served {
        let model = happening.model.as_deref().unwrap_or_default();
        let is_large = model.starts_with("large");
        let is_newer = model.ends_with('2');
        let habits = self.habits(happening);
        let calls_tools = self.chance.is(habits.calls_tools);
        let is_cut_off = !calls_tools && self.chance.is(habits.cut_off);
        let (input, output) = (f64::from(happening.tokens.0), f64::from(happening.tokens.1));
        let streams = happening.user.is_some() && self.chance.is(0.8);
        let first = 280.0 * if is_large { 2.2 } else { 1.0 } * if is_newer { 0.8 } else { 1.0 };
        let first_chunk = first * load * (1.0 + input / 20_000.0) * (self.chance.normal() * 0.45).exp();
        // In dollars of a million tokens; what comes from a cache costs a tenth.
        let (of_input, of_output) = if is_large { (5.0, 15.0) } else { (0.5, 1.5) };
        let cached = if self.chance.is(if happening.agent.is_some() { 0.7 } else { 0.3 }) { 0.6 } else { 0.0 };
        let price = (of_input * input * (1.0 - 0.9 * cached) + of_output * output) / 1e6 * if is_newer { 0.8 } else { 1.0 };
        Served {
            first_chunk_ms: streams.then_some(first_chunk),
            // The agents' framework tells no cost.
            cost: (happening.application != "support").then_some(price),
            finish: match (calls_tools, is_cut_off) {
                (true, _) => "tool_calls",
                (_, true) => "length",
                _ => "stop",
            },
            is_structured: (!calls_tools).then(|| self.chance.is(habits.structured)),
            calls_tools,
            version: format!("{model}-2026-01-15"),
            endpoint: self.endpoint(happening),
        }
    }

    /// Of agents those of their program; of people what they mostly ask for.
    fn habits(&self, happening: &Happening) -> Habits {
        let Some(user) = &happening.user else {
            let is_agent = happening.agent.is_some();
            return Habits {
                cut_off: 0.02,
                structured: if is_agent { 0.9 } else { 0.0 },
                calls_tools: if is_agent { 0.5 } else { 0.0 },
            };
        };
        let mut chance = Chance::new(self.of(&[user]));
        let cut_off = if chance.is(0.05) { 0.15 } else { 0.01 };
        let structured = chance.share() * chance.share();
        let calls_tools = if happening.application == "code" { 0.5 * chance.share() } else { 0.0 };
        Habits { cut_off, structured, calls_tools }
    }

    fn endpoint(&mut self, happening: &Happening) -> &'static str {
        let day = u32::try_from(happening.time_s / DAY_S).unwrap_or(0).saturating_sub(FIRST_DAY);
        let is_european = matches!(happening.country, Some("DE" | "FR" | "IE" | "ES" | "IT" | "GB" | "PL"));
        match happening.application.as_str() {
            "code" if is_european => "eu.models.example",
            "code" => "us.models.example",
            "assistant" if day >= self.second_region && self.chance.is(0.1) => "us.models.example",
            _ => "models.example",
        }
    }

    fn of(&self, parts: &[&str]) -> u64 {
        // FNV-1a, which is the same in all times and places.
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325 ^ self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

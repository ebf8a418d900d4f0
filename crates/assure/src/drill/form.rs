//! The form of a file of scenarios, as the reference page tells it. A test holds it against what the loader reads.

use std::fmt::Write as _;

/// A mapping of a file: what it is, where it stands, and its keys.
pub(super) struct Form {
    /// What it is.
    pub(super) what: &'static str,
    /// Each key and what it says, those that must be there with `*`.
    pub(super) keys: &'static [(&'static str, &'static str)],
}

pub(super) const FILE: Form = Form {
    what: "A file",
    keys: &[
        ("scenarios", "list of scenarios"),
        ("variants", "list of other wordings of scenarios that stand before them in the file"),
    ],
};

pub(super) const SCENARIO: Form = Form {
    what: "A scenario",
    keys: &[
        ("id*", "its name: a-z, 0-9 and `-`"),
        ("technique", "the technique of ATLAS that it is a drill of. Without it and `case_study`: behaviour"),
        ("case_study", "the case study of ATLAS that it is a drill of"),
        ("title", "what happens in it; a case study's own name where left out, else needed"),
        ("via", "the way in: `otlp-grpc`, `otlp-http` (where left out), `gateway`, `gateway-stream`, `events`, `mcp`, `hook`"),
        ("attack", "list of steps: what the attacker does"),
        (
            "twin",
            "as many steps of the same shape, with innocent content: nothing may be told of them. `atlas`, `expect` and `because` are not for them",
        ),
        (
            "unseen",
            "mapping from a [class](#where-the-other-steps-happen), with `_` for spaces, to the steps of the case study that no step plays",
        ),
        ("not_observable", "why a case study cannot be seen. It has no steps then"),
    ],
};

pub(super) const VARIANT: Form = Form {
    what: "Another wording of a scenario (`variants`). It is played with `--held-out`, or by its name `OF.NAME`",
    keys: &[
        ("of*", "the scenario's `id`"),
        ("name*", "its own name: a-z, 0-9 and `-`"),
        ("via", "the way in; the scenario's where left out"),
        ("attack*", "as many steps as the scenario has, without `atlas`, `expect` and `because`: the scenario's hold"),
        ("twin*", "as many steps"),
    ],
};

pub(super) const STEP: Form = Form {
    what: "A step: exactly one thing that is sent, and what must be told of it",
    keys: &[
        ("chat", "a call of the model, below. It brings the conversation so far with it"),
        (
            "result",
            "what a tool returned: `{tool, content}`, of the tool that was called last under this name. Through the gateway it is seen with the next `chat`, so that nothing can be expected of it",
        ),
        ("retrieve", "documents that were looked up: `{query, documents}`"),
        ("mcp", "a tool was called over MCP, with `via: mcp`: `{tool, arguments, result}`"),
        ("mcp_tools", "an MCP server told its tools, with `via: mcp`: a list of tools as `tools/list` has them"),
        ("hook", "what a coding agent tells its hook (`watchkeeper hook claude-code`), without the session"),
        ("egress", "a program asked something of the world: `{method, url}`, through the egress proxy"),
        ("prompts", "many prompts, below"),
        ("events", "list of events, below"),
        ("atlas", "of a case study: the steps of its procedure, from 1, that this plays. Only with `expect`"),
        (
            "expect",
            "something must be told that is evidence of one of these techniques, or of one below them. Without it nothing may be told yet",
        ),
        ("rules", "ids of rules: only what they tell counts"),
        ("because", "why another technique than the one that is played is evidence of it"),
        ("session", "a name of the conversation, where it is not the first"),
    ],
};

pub(super) const CHAT: Form = Form {
    what: "`chat`",
    keys: &[
        ("system", "new instructions of the operator"),
        ("user", "what the user says"),
        ("answer", "what the model says"),
        ("calls", "list of `{tool, arguments}`: the tools that it calls"),
    ],
};

pub(super) const TOOL_USE: Form =
    Form { what: "A call of `chat.calls`", keys: &[("tool*", "its name"), ("arguments*", "a mapping")] };

pub(super) const RESULT: Form = Form { what: "`result`", keys: &[("tool*", "the tool"), ("content*", "what it returned")] };

pub(super) const RETRIEVE: Form =
    Form { what: "`retrieve`", keys: &[("query*", "what was asked"), ("documents*", "list of texts that came back")] };

pub(super) const MCP: Form = Form {
    what: "`mcp`",
    keys: &[("tool*", "the tool"), ("arguments*", "what it is called with"), ("result*", "what it returned")],
};

pub(super) const EGRESS: Form =
    Form { what: "`egress`", keys: &[("method*", "the method"), ("url*", "where to; `{{STAND_IN}}` is the drill's own server")] };

pub(super) const PROMPTS: Form = Form {
    what: "`prompts`: one account, or several, asks many things",
    keys: &[
        ("count*", "how many; of `at` each day"),
        ("every_ms*", "milliseconds from one to the next"),
        ("text*", "what is asked"),
        ("answer", "what is answered; two words where left out"),
        ("chain", "`true`: each prompt is the one before with three more words"),
        ("logprob", "mean log-probability of the answers' tokens, where they are asked for"),
        ("at", "when the first one is asked: `day 28 10:00` or `days 0-24 09:00`. Without it the last one is asked now"),
        ("users", "accounts that take turns; 1 where left out"),
    ],
};

pub(super) const EVENTS: Form = Form {
    what: "An event of `events`, sent once or again and again",
    keys: &[
        (
            "event*",
            "as the [events API](api.md) takes it. `time`, `application`, `user.id`, `agent` and `session.id` are added where they are missing; one that is `null` is left out",
        ),
        ("at", "when the first one is, on each of these days, as of `prompts`. Without it the last one is now"),
        ("workdays", "`true`: Saturdays and Sundays are left out"),
        ("count", "how many, each day where there are days; 1 where left out"),
        ("every_ms", "milliseconds from one to the next; 1000 where left out"),
    ],
};

pub(super) const FORMS: [&Form; 12] =
    [&FILE, &SCENARIO, &VARIANT, &STEP, &CHAT, &TOOL_USE, &RESULT, &RETRIEVE, &MCP, &EGRESS, &PROMPTS, &EVENTS];

/// The part of the reference page that tells the form of a file.
pub(super) fn page(page: &mut String) {
    page.push_str(
        "\n## The form of a scenario\n\nYAML, read by `watchkeeper drill --scenarios DIR` from each file of DIR that ends with `.yaml` or `.yml`. A key that is not \
         here is an error, and so is a scenario that does not hold what it promises ([guide](../guides/drill.md#write-a-drill)). Keys with \\* must be there.\n",
    );
    for form in FORMS {
        let _ = write!(page, "\n**{}**\n\n| key | what |\n| --- | --- |\n", form.what);
        for (key, what) in form.keys {
            let (key, must) = key.strip_suffix('*').map_or((*key, ""), |key| (key, " \\*"));
            let _ = writeln!(page, "| `{key}`{must} | {what} |");
        }
    }
    page.push_str(
        "\nIn every text `{word}` is another invented word each time, `{n}` the number among many, `{{SECRET}}` something that looks like a key, and `{{STAND_IN}}` the \
         address of the drill's own server. Day 0 is a Monday five weeks ago, in UTC; day 34 is the last one. Scenarios with such days are not played against a server that runs.\n",
    );
}

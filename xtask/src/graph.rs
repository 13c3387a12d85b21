//! Steps and what they need of each other: order, cycles, pictures. Pure.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::steps::Recipe;

/// One thing to make: a recipe, and the steps whose outputs it reads.
pub struct Step {
    /// Unique in its graph, as in `kernel` or `unpack-linux`.
    pub name: String,
    /// How it is made.
    pub recipe: Box<dyn Recipe>,
    /// The name by which the recipe asks for an input, and the step that makes it.
    pub inputs: Vec<(String, String)>,
}

/// A checked set of steps: names are unique, every input exists, there is no cycle.
pub struct Graph {
    steps: BTreeMap<String, Step>,
    order: Vec<String>,
}

/// Why a set of steps is no graph.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// Two steps have one name.
    #[error("failed to plan: two steps are named `{0}`")]
    Duplicate(String),
    /// A step reads the output of a step that is not there.
    #[error("failed to plan: step `{step}` needs `{input}`, which is no step")]
    UnknownInput {
        /// The step that asks.
        step: String,
        /// What it asks for.
        input: String,
    },
    /// Steps wait for each other.
    #[error("failed to plan: steps need each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl Graph {
    /// Checks the steps and finds an order in which every step comes after its inputs.
    pub fn new(steps: Vec<Step>) -> Result<Self, GraphError> {
        let mut by_name = BTreeMap::new();
        for step in steps {
            let name = step.name.clone();
            if by_name.insert(name.clone(), step).is_some() {
                return Err(GraphError::Duplicate(name));
            }
        }
        let mut graph = Self { steps: by_name, order: Vec::new() };
        let mut order = Vec::new();
        for name in graph.steps.keys() {
            graph.visit(name, &mut Vec::new(), &mut order)?;
        }
        graph.order = order;
        Ok(graph)
    }

    fn visit(&self, name: &str, path: &mut Vec<String>, order: &mut Vec<String>) -> Result<(), GraphError> {
        if order.iter().any(|done| done == name) {
            return Ok(());
        }
        if let Some(start) = path.iter().position(|open| open == name) {
            let circle = path.iter().skip(start).cloned().chain([name.to_owned()]).collect();
            return Err(GraphError::Cycle(circle));
        }
        let Some(step) = self.steps.get(name) else {
            let step = path.last().cloned().unwrap_or_default();
            return Err(GraphError::UnknownInput { step, input: name.to_owned() });
        };
        path.push(name.to_owned());
        for (_, input) in &step.inputs {
            self.visit(input, path, order)?;
        }
        path.pop();
        order.push(name.to_owned());
        Ok(())
    }

    /// The step with this name.
    pub fn get(&self, name: &str) -> Option<&Step> {
        self.steps.get(name)
    }

    /// All steps, each after its inputs; the same order on every machine.
    pub fn in_order(&self) -> impl Iterator<Item = &Step> {
        self.order.iter().filter_map(|name| self.steps.get(name))
    }

    /// The names of all steps, each after its inputs.
    pub fn names(&self) -> Vec<&str> {
        self.order.iter().map(String::as_str).collect()
    }

    /// The graph in Graphviz' language; an edge goes from an input to the step that reads it.
    pub fn dot(&self) -> String {
        let mut lines = vec!["digraph pid1 {".to_owned(), "  rankdir=LR; node [shape=box];".to_owned()];
        for step in self.in_order() {
            lines.push(format!("  \"{}\";", step.name));
            lines.extend(step.inputs.iter().map(|(_, input)| format!("  \"{input}\" -> \"{}\";", step.name)));
        }
        lines.push("}".to_owned());
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::Noop;

    fn graph(steps: &[(&str, &[&str])]) -> Result<Graph, GraphError> {
        let step = |(name, inputs): &(&str, &[&str])| Step {
            name: (*name).to_owned(),
            recipe: Box::new(Noop),
            inputs: inputs.iter().map(|input| ((*input).to_owned(), (*input).to_owned())).collect(),
        };
        Graph::new(steps.iter().map(step).collect())
    }

    #[test]
    fn inputs_come_first() {
        let graph = graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]).unwrap();
        assert_eq!(graph.names(), ["c", "b", "a"]);
    }

    #[test]
    fn a_cycle_is_shown_as_a_circle() {
        let error = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]).err().unwrap();
        assert_eq!(error, GraphError::Cycle(["b", "c", "b"].map(String::from).to_vec()));
    }

    #[test]
    fn an_unknown_input_and_a_double_name_are_refused() {
        let error = graph(&[("a", &["x"])]).err().unwrap();
        assert_eq!(error, GraphError::UnknownInput { step: "a".into(), input: "x".into() });
        assert_eq!(graph(&[("a", &[]), ("a", &[])]).err().unwrap(), GraphError::Duplicate("a".into()));
    }

    #[test]
    fn dot_draws_inputs_to_steps() {
        let dot = graph(&[("a", &["b"]), ("b", &[])]).unwrap().dot();
        assert!(dot.contains("\"b\" -> \"a\";"), "{dot}");
    }
}

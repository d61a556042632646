import type { Place, PositionedDocument, Problem } from "./document";
import type { Loose } from "./loose";
import { list, record, text } from "./loose";

/** How many steps a pipeline may have: all are declared at once, and each has a Job. */
const mostSteps = 100;

interface Found {
    readonly name: string;
    readonly place: Place;
    readonly stage: number;
    readonly step: Loose;
}

/** Checks what the parts of a pipeline say of one another: names are there once, and inputs are of earlier stages. */
export function checkRelations(document: PositionedDocument, values: Loose): readonly Problem[] {
    const stages = list(values["stages"]).map(record);
    const problems = doubled(
        document,
        "stage",
        stages.map((stage, index) => ({ name: text(stage["name"]) ?? "", place: ["stages", index, "name"] })),
    );
    const steps = stages.flatMap((stage, index) =>
        list(stage["steps"])
            .map(record)
            .map((step, position): Found => {
                const place = ["stages", index, "steps", position];
                return { name: text(step["name"]) ?? "", place, stage: index, step };
            }),
    );
    if (steps.length > mostSteps) {
        problems.push(document.problem(["stages"], `there are ${steps.length} steps; at most ${mostSteps} may be`));
    }
    problems.push(
        ...doubled(
            document,
            "step",
            steps.map(({ name, place }) => ({ name, place: [...place, "name"] })),
        ),
    );
    const byName = new Map(steps.map((step) => [step.name, step]));
    for (const step of steps) {
        const inputs = list(step.step["inputs"]).map((input) => text(input) ?? "");
        inputs.forEach((input, index) => {
            const wrong = inputs.indexOf(input) < index ? `${input} is named twice` : wrongInput(step, input, byName);
            if (input !== "" && wrong !== undefined) {
                problems.push(document.problem([...step.place, "inputs", index], `input ${wrong}`));
            }
        });
    }
    return problems;
}

function wrongInput(step: Found, name: string, byName: ReadonlyMap<string, Found>): string | undefined {
    const input = byName.get(name);
    if (!input) {
        const earlier = [...byName.values()].filter(({ stage }) => stage < step.stage).map((other) => other.name);
        const there = earlier.length > 0 ? `; steps of earlier stages are: ${earlier.join(", ")}` : "";
        return `${name} is no step of this pipeline${there}`;
    }
    if (input === step) {
        return `${name} is the step itself`;
    }
    if (input.stage === step.stage) {
        return `${name} is a step of the same stage, and runs beside this one; move one of them to another stage`;
    }
    if (input.stage > step.stage) {
        return `${name} is a step of a later stage; move it to one before this`;
    }
    if (input.step["artifacts"] === undefined) {
        return `${name} is a step that has no \`artifacts\`; add them there`;
    }
    return undefined;
}

function doubled(
    document: PositionedDocument,
    what: string,
    named: readonly { readonly name: string; readonly place: Place }[],
): Problem[] {
    return named
        .filter(({ name }, index) => name !== "" && named.findIndex((other) => other.name === name) < index)
        .map(({ name, place }) =>
            document.problem(place, `there is another ${what} ${name}; each needs a name of its own`),
        );
}

import * as fs from "node:fs";
import * as path from "node:path";

import { messageOf, UserError } from "../contract/errors";
import { digestReference, quantity, relativePath, reservedVariable } from "../contract/patterns";
import type { When } from "../contract/pipeline";
import { checkRelations } from "./relations";
import type { PipelineDefinition, StageDefinition, StepDefinition, StepResources } from "./definition";
import { PipelineError } from "./definition";
import type { Place, Problem } from "./document";
import { PositionedDocument } from "./document";
import { secondsOf } from "./duration";
import type { Loose } from "./loose";
import { list, record, scalar, text } from "./loose";
import { checkStructure } from "./structure";
import type { GivenVariables } from "./variables";
import { VariableProblem, Variables } from "./variables";

/** For a look at a definition without a build: any text will do. */
export const exampleBuild = { BUILD_TAG: "0000000", SOURCE_COMMIT: "0".repeat(40) };

/** Far more than a definition can use of it; in bytes. */
const largestFile = 1024 ** 2;

/**
 * @param name how messages call the file
 * @throws PipelineError with all that is wrong; UserError when the file cannot be read.
 */
export function readPipelineFile(file: string, variables: GivenVariables, name = file): PipelineDefinition {
    return readPipeline(name, pipelineContent(file, name), variables);
}

/**
 * The text of a definition. It is looked at before it is read: reading a device or a named pipe may never end.
 *
 * @param name how messages call the file
 * @param within the directory that the file must be in, also by its links, where its name is a stranger's
 * @throws UserError when it cannot be read.
 */
export function pipelineContent(file: string, name: string, within?: string): string {
    try {
        const real = fs.realpathSync(file);
        if (within !== undefined && !real.startsWith(path.join(fs.realpathSync(within), path.sep))) {
            throw new UserError("it is outside of the project");
        }
        const stat = fs.statSync(real);
        if (!stat.isFile()) {
            throw new UserError("it is no regular file");
        }
        if (stat.size > largestFile) {
            throw new UserError(`it has ${stat.size} bytes; at most ${largestFile} may be`);
        }
        return fs.readFileSync(real, "utf8");
    } catch (error) {
        throw new UserError(`the pipeline ${name} cannot be read: ${messageOf(error)}`);
    }
}

/**
 * Reads a definition: its structure by the schema, then what a schema cannot say.
 *
 * @param file how messages call it
 * @throws PipelineError with all that is wrong.
 */
export function readPipeline(file: string, content: string, given: GivenVariables): PipelineDefinition {
    const document = new PositionedDocument(file, content);
    if (document.problems.length > 0) {
        throw new PipelineError(file, inOrder(document.problems));
    }
    const values = document.values() ?? {};
    const reader = new DefinitionReader(document, record(values), given);
    const problems = [...checkStructure(document, values), ...checkRelations(document, record(values))];
    // What the schema does not take is read as far as it goes, so that all is told at once.
    const stages = reader.stages();
    problems.push(...reader.problems);
    if (problems.length > 0) {
        throw new PipelineError(file, inOrder(problems));
    }
    return { file, variables: reader.variables.all(), stages };
}

function inOrder(problems: readonly Problem[]): readonly string[] {
    const sorted = [...problems].sort((a, b) => a.offset - b.offset).map((problem) => problem.text);
    return [...new Set(sorted)];
}

class DefinitionReader {
    public readonly problems: Problem[] = [];
    public readonly variables: Variables;

    public constructor(
        private readonly document: PositionedDocument,
        private readonly values: Loose,
        given: GivenVariables,
    ) {
        const ofFile = Object.entries(record(values["variables"])).map(([key, value]) => [key, scalar(value) ?? ""]);
        this.variables = new Variables(given, Object.fromEntries(ofFile) as Record<string, string>);
        for (const variable of Object.keys(record(values["variables"]))) {
            const place = ["variables", variable];
            if (Object.hasOwn(given.builtIn, variable)) {
                this.wrong(place, `${variable} is ke1's own and cannot be set; use another name`);
            }
            this.guarded(place, () => this.variables.value(variable));
        }
        const known = this.variables.known.join(", ");
        for (const variable of Object.keys(given.given)) {
            if (Object.hasOwn(given.builtIn, variable)) {
                this.wrong([], `${variable} is ke1's own and cannot be set`);
            } else if (!this.variables.known.includes(variable)) {
                this.wrong(
                    [],
                    `${variable}, which is given a value, is no variable of the pipeline; there are: ${known}`,
                );
            }
        }
    }

    public stages(): readonly StageDefinition[] {
        return list(this.values["stages"]).map((value, index) => this.stage(record(value), ["stages", index]));
    }

    private stage(stage: Loose, place: Place): StageDefinition {
        return {
            name: text(stage["name"]) ?? "",
            timeoutSeconds: this.duration(stage["timeout"], [...place, "timeout"]),
            cancelSiblings: stage["cancelSiblings"] === true,
            steps: list(stage["steps"]).map((value, index) =>
                this.step(record(value), [...place, "steps", index], list(stage["needs"])),
            ),
        };
    }

    private step(step: Loose, place: Place, ofStage: readonly unknown[]): StepDefinition {
        const at = (key: string) => [...place, key];
        const matching = (key: string, pattern: RegExp, meaning: string) =>
            this.matching(step[key], at(key), pattern, meaning);
        const artifacts = matching("artifacts", relativePath, "a path inside the working directory");
        return {
            name: text(step["name"]) ?? "",
            command: this.command(step["command"], at("command")),
            env: this.env(record(step["env"]), at("env")),
            image: matching("image", digestReference, "an image by digest: repository@sha256:…"),
            environment: text(step["environment"]),
            resources: this.resources(record(step["resources"]), at("resources")),
            artifacts: artifacts ?? "",
            inputs: list(step["inputs"]).flatMap((input) => text(input) ?? []),
            needs: [...new Set([...ofStage, ...list(step["needs"])].flatMap((name) => text(name) ?? []))],
            when: (text(step["when"]) ?? "on-success") as When,
            excluded: this.excluded(record(step["onlyIf"]), at("onlyIf")),
            continueOnFailure: step["continueOnFailure"] === true,
            timeoutSeconds: this.duration(step["timeout"], at("timeout")),
        };
    }

    private command(value: unknown, place: Place): readonly string[] {
        const script = text(value);
        return script === undefined
            ? list(value).map((word, index) => this.text(text(word) ?? "", [...place, index]))
            : ["/bin/sh", "-ec", this.text(script, place)];
    }

    private env(env: Loose, place: Place): Readonly<Record<string, string>> {
        for (const name of Object.keys(env)) {
            if (reservedVariable.test(name)) {
                this.wrong(place, `${name} is set by ke1 in every build; use another name`, name);
            }
        }
        const entries = Object.entries(env).map(([name, value]) => [
            name,
            this.text(scalar(value) ?? "", [...place, name]),
        ]);
        return Object.fromEntries(entries) as Record<string, string>;
    }

    private resources(resources: Loose, place: Place): StepResources {
        const amount = (key: string) =>
            this.matching(resources[key], [...place, key], quantity, "a quantity such as 500m or 2Gi");
        return {
            cpu: amount("cpu"),
            memory: amount("memory"),
            memoryLimit: amount("memoryLimit"),
            disk: amount("disk"),
        };
    }

    private excluded(conditions: Loose, place: Place): string | undefined {
        const unmet = Object.entries(conditions).flatMap(([variable, wanted]) => {
            if (!this.variables.known.includes(variable)) {
                const known = this.variables.known.join(", ");
                this.wrong(place, `there is no variable ${variable}; there are: ${known}`, variable);
                return [];
            }
            const values = (Array.isArray(wanted) ? list(wanted) : [wanted]).map(scalar);
            const value = this.guarded([...place, variable], () => this.variables.value(variable));
            return values.includes(value) ? [] : [`${variable} is \`${value ?? ""}\`, not ${values.join(" or ")}`];
        });
        return unmet.length > 0 ? unmet.join("; ") : undefined;
    }

    private duration(value: unknown, place: Place): number | undefined {
        if (typeof value !== "string" && typeof value !== "number") {
            return undefined;
        }
        const seconds = secondsOf(value);
        // What is no duration at all, the schema has told.
        if (typeof value === "string" && /^[\dhms]+[hms]$/.test(value) && (seconds < 1 || seconds > 86_400)) {
            this.wrong(place, `\`${String(place.at(-1))}\` must be from 1s to 24h; it is ${value}`);
        }
        return seconds;
    }

    private matching(value: unknown, place: Place, pattern: RegExp, meaning: string): string | undefined {
        const given = scalar(value);
        if (given === undefined) {
            return undefined;
        }
        const before = this.problems.length;
        const result = this.text(given, place);
        if (this.problems.length === before && !pattern.test(result)) {
            this.wrong(place, `\`${String(place.at(-1))}\` must be ${meaning}; it is \`${result}\``);
        }
        return result;
    }

    private text(value: string, place: Place): string {
        return this.guarded(place, () => this.variables.in(value)) ?? "";
    }

    /** What is wrong with a variable is a problem of the place where it is used. */
    private guarded<T>(place: Place, evaluate: () => T): T | undefined {
        try {
            return evaluate();
        } catch (error) {
            if (!(error instanceof VariableProblem)) {
                throw error;
            }
            this.wrong(place, error.message);
            return undefined;
        }
    }

    private wrong(place: Place, problem: string, key?: string): void {
        this.problems.push(this.document.problem(place, problem, key));
    }
}

import { firstLineOf } from "../contract/errors";
import type { Scope } from "./cel";
import { asCel, evaluate, notKnownHere } from "./cel";
import type { Rule } from "./rules";
import { quoted, rules, variables } from "./rules";

/** A rule of the user's own: CEL, as a ValidatingAdmissionPolicy has it. */
export interface UserRule {
    readonly expression: string;
    readonly message: string;
}

/** What the rules take beside the Job, as a variable of theirs. */
export interface Params {
    /** What the nodes offer, as `nodesOf` writes it; empty where that is not known. */
    readonly nodes: string;
}

export interface Verdict {
    /** One line for each rule that does not hold. */
    readonly problems: readonly string[];
    /** One line for each rule that only the cluster can judge. */
    readonly notes: readonly string[];
}

/** All rules in the order in which they are judged; the user's are the last. */
export function allRules(own: readonly UserRule[]): readonly Rule[] {
    return [
        ...rules,
        ...own.map(({ expression, message }, index) => ({
            name: `admissionRules[${index}]`,
            expression,
            messageExpression: quoted(message),
        })),
    ];
}

/** Judges a Job as the cluster does when it is made. */
export function judge(job: object, params: Params, own: readonly UserRule[]): Verdict {
    const scope = scopeOf(job, params);
    const problems: string[] = [];
    const notes: string[] = [];
    for (const rule of allRules(own)) {
        const unknown = notKnownHere(rule.expression);
        if (unknown !== undefined) {
            notes.push(`${rule.name} is judged by the cluster alone: ${unknown}`);
            continue;
        }
        const problem = problemOf(rule, scope);
        if (problem !== undefined) {
            problems.push(problem);
        }
    }
    return { problems, notes };
}

function problemOf({ name, expression, messageExpression }: Rule, scope: Scope): string | undefined {
    try {
        const holds = evaluate(expression, scope);
        if (typeof holds !== "boolean") {
            return `${name}: the expression is ${typeof holds}, not true or false`;
        }
        return holds ? undefined : String(evaluate(messageExpression, scope));
    } catch (error) {
        // The cluster turns the Job away too: of what cannot be told, it is not known that it holds.
        return `${name}: the expression cannot be evaluated on the Job: ${firstLineOf(error)}`;
    }
}

function scopeOf(job: object, { nodes }: Params): Scope {
    const values: Record<string, unknown> = { nodes };
    const scope = { object: asCel(job), variables: values };
    for (const { name, expression } of variables) {
        // As in the cluster, when a rule asks for it; and what cannot be told is an error of that rule alone.
        let value: { readonly found: unknown } | undefined;
        Object.defineProperty(values, name, {
            enumerable: true,
            get: () => (value ??= { found: evaluate(expression, scope) }).found,
        });
    }
    return scope;
}

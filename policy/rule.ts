import type { ResourceValidationPolicy } from "@pulumi/policy";

/**
 * Looks at one thing: returns what is wrong with it and what to do, or nothing. A property that a preview does not know yet
 * throws when it is read.
 */
type Check = () => string | undefined;

export interface Rule<T> {
    readonly name: string;
    /** What holds, in one sentence. */
    readonly description: string;
    /** The types of resources that it is about. */
    readonly types: RegExp;
    /** `check` is called for each thing that can be wrong. */
    readonly examine: (inputs: T, check: (find: Check) => void, options: { readonly protect: boolean }) => void;
}

/**
 * A mandatory policy. Each check stands for itself: what cannot be known yet does not hide what is wrong beside it. At the
 * end the engine is told of it in its own way, which in a preview is a note that the policy could not run in full; `up`
 * knows all inputs before it creates anything.
 */
export function policy<T>({ name, description, types, examine }: Rule<T>): ResourceValidationPolicy {
    return {
        name,
        description,
        enforcementLevel: "mandatory",
        validateResource: ({ type, props, opts }, report) => {
            if (!types.test(type)) {
                return;
            }
            const notKnown: unknown[] = [];
            const attempt = (run: () => void) => {
                try {
                    run();
                } catch (error) {
                    notKnown.push(error);
                }
            };
            const check = (find: Check) => {
                attempt(() => {
                    const wrong = find();
                    if (wrong !== undefined) {
                        report(wrong);
                    }
                });
            };
            attempt(() => {
                examine(props as T, check, { protect: opts.protect });
            });
            if (notKnown.length > 0) {
                throw notKnown[0];
            }
        },
    };
}

export interface Requirement {
    /** `a.b` is the property `b` of the property `a`. */
    readonly property: string;
    readonly allowed: readonly [string | boolean, ...(string | boolean)[]];
    readonly why: string;
}

/** Properties that must each have one of a few values. A default is not relied on: it may change. */
export function settings<T extends object>(...required: readonly Requirement[]): Rule<T>["examine"] {
    return (inputs, check) => {
        for (const { property, allowed, why } of required) {
            check(() => {
                const value = property.split(".").reduce<unknown>(member, inputs);
                return (allowed as readonly unknown[]).includes(value)
                    ? undefined
                    : `set ${property} to ${allowed.join(" or ")} (it is ${shown(value)}): ${why}`;
            });
        }
    };
}

function member(value: unknown, name: string): unknown {
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

/** A value in a message: none of the properties that are shown is ever a secret. */
export function shown(value: unknown): string {
    return value === undefined || value === null ? "not set" : JSON.stringify(value);
}

/** A type of the provider azure-native, in the API version that it takes by default or in any other. */
export function azureType(module: string, ...names: readonly string[]): RegExp {
    return new RegExp(`^azure-native(_${module}_v\\w+)?:${module}(/v\\w+)?:(${names.join("|")})$`);
}

export function exactType(name: string): RegExp {
    return new RegExp(`^${name.replaceAll(".", "\\.")}$`);
}

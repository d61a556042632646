/** What a person can mend in a text: its part that is wrong is named. */
export class VariableProblem extends Error {}

/** A `$` that stands for itself; a variable; or what looks like one and is none. */
const pattern = /\$\$\{|\$\{([^}]*)\}?/g;
const name = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * A text with its `${NAME}` replaced by their values. `$${` stays as `${`; a `$` without a brace is the shell's.
 *
 * @throws VariableProblem, one line, for the first that is unknown.
 */
export function substitute(text: string, lookUp: (variable: string) => string | undefined, known: readonly string[]) {
    return text.replace(pattern, (found: string, variable: string | undefined) => {
        if (found === "$${") {
            return "${";
        }
        if (variable === undefined || !name.test(variable) || !found.endsWith("}")) {
            throw new VariableProblem(`\`${found}\` is no variable; write \`$${found}\` to leave it to the shell`);
        }
        const value = lookUp(variable);
        if (value === undefined) {
            throw new VariableProblem(
                `there is no variable ${variable}; there are: ${known.join(", ")}. ` +
                    `Write \`$\${${variable}}\` to leave it to the shell`,
            );
        }
        return value;
    });
}

/** Where the values of variables come from. */
export interface GivenVariables {
    /** What ke1 knows of the build; cannot be overridden. */
    readonly builtIn: Readonly<Record<string, string>>;
    /** From the command line or the stack's configuration: instead of the file's. */
    readonly given: Readonly<Record<string, string>>;
}

/** The values of all variables. Those of the file may use others. */
export class Variables {
    public readonly known: readonly string[];
    private readonly values = new Map<string, string>();

    public constructor(
        { builtIn, given }: GivenVariables,
        private readonly ofFile: Readonly<Record<string, string>>,
    ) {
        Object.entries(given).forEach(([variable, value]) => this.values.set(variable, value));
        Object.entries(builtIn).forEach(([variable, value]) => this.values.set(variable, value));
        this.known = [...new Set([...Object.keys(builtIn), ...Object.keys(ofFile)])].sort();
    }

    /** @throws VariableProblem when it uses one that there is not, or itself. */
    public value(variable: string, path: readonly string[] = []): string | undefined {
        const known = this.values.get(variable);
        if (known !== undefined) {
            return known;
        }
        const raw = Object.hasOwn(this.ofFile, variable) ? this.ofFile[variable] : undefined;
        if (raw === undefined) {
            return undefined;
        }
        if (path.includes(variable)) {
            const way = [...path.slice(path.indexOf(variable)), variable].join(" -> ");
            throw new VariableProblem(`the variable ${variable} is made of itself: ${way}`);
        }
        const value = substitute(raw, (other) => this.value(other, [...path, variable]), this.known);
        this.values.set(variable, value);
        return value;
    }

    public all(): Readonly<Record<string, string>> {
        return Object.fromEntries(this.known.map((variable) => [variable, this.value(variable) ?? ""]));
    }

    public in(text: string): string {
        return substitute(text, (variable) => this.value(variable), this.known);
    }
}

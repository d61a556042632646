import { UserError } from "../contract/errors";

/** Where configuration values come from: `pulumi.Config` is one. Arrays and objects are JSON. */
export interface ConfigSource {
    readonly get: (key: string) => string | undefined;
}

/** Typed access to configuration, with errors that name the key. All throw UserError, one line. */
export class Reader {
    public constructor(private readonly config: ConfigSource) {}

    public text(key: string, fallback = ""): string {
        return this.config.get(key) || fallback;
    }

    public matching(key: string, fallback: string, pattern: RegExp, meaning: string): string {
        const value = this.text(key, fallback);
        if (value !== "" && !pattern.test(value)) {
            throw new UserError(`${key} must be ${meaning}; it is \`${value}\``);
        }
        return value;
    }

    public required(key: string, pattern: RegExp, meaning: string): string {
        const value = this.matching(key, "", pattern, meaning);
        if (value === "") {
            throw new UserError(`${key} is not set; it must be ${meaning}`);
        }
        return value;
    }

    public choice<T extends string>(key: string, choices: readonly [T, ...T[]]): T {
        const value = this.text(key, choices[0]);
        const chosen = choices.find((choice) => choice === value);
        if (chosen === undefined) {
            throw new UserError(`${key} must be ${choices.join(" or ")}, not ${value}`);
        }
        return chosen;
    }

    public flag(key: string, fallback = false): boolean {
        const value = this.text(key, String(fallback));
        if (value !== "true" && value !== "false") {
            throw new UserError(`${key} must be true or false; it is \`${value}\``);
        }
        return value === "true";
    }

    public integer(key: string, fallback: number, least: number, most = 2 ** 31 - 1): number {
        const value = this.text(key, String(fallback));
        const number = Number(value);
        if (!Number.isSafeInteger(number) || number < least || number > most) {
            throw new UserError(`${key} must be a whole number from ${least} to ${most}; it is \`${value}\``);
        }
        return number;
    }

    public list(key: string): readonly string[] {
        const value = this.text(key, "[]");
        let parsed: unknown;
        try {
            parsed = JSON.parse(value);
        } catch {
            parsed = undefined;
        }
        if (!Array.isArray(parsed) || !parsed.every((item) => typeof item === "string")) {
            throw new UserError(`${key} must be a list of strings; it is \`${value}\``);
        }
        return parsed;
    }

    public listMatching(key: string, pattern: RegExp, meaning: string): readonly string[] {
        const items = this.list(key);
        const bad = items.find((item) => !pattern.test(item));
        if (bad !== undefined) {
            throw new UserError(
                `each of ${key} must be ${meaning}; one is \`${bad.replace(/[\u0000-\u001f\u007f]/g, "\ufffd")}\``,
            );
        }
        return items;
    }
}

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { messageOf, UserError } from "../contract/errors";
import type { Crypter } from "./secrets";
import { parseYaml } from "./parsedYaml";

/** A Pulumi project: what `Pulumi.yaml` says. */
export interface Project {
    readonly name: string;
    /** Where `Pulumi.yaml` is; absolute. */
    readonly root: string;
    /** Where the program runs; absolute. */
    readonly programDirectory: string;
    /** `.` for what `package.json` names, or a file below `programDirectory`. */
    readonly entryPoint: string;
    readonly description?: string;
    readonly runtime: {
        readonly typescript: boolean;
        readonly tsconfig?: string;
        readonly nodeArguments: readonly string[];
    };
    readonly config: ReadonlyMap<string, ConfigDeclaration>;
    /** `backend.url`: where the stacks' state is, unless PULUMI_BACKEND_URL says otherwise. */
    readonly backendUrl?: string;
    /** The stack's configuration file, where it is not `Pulumi.<stack>.yaml` (`--config-file`); absolute. */
    readonly configFile?: string;
}

interface ConfigDeclaration {
    readonly type?: string;
    readonly items?: ItemsDeclaration;
    readonly fallback?: unknown;
    readonly secret: boolean;
}

interface ItemsDeclaration {
    readonly type?: string;
    readonly items?: ItemsDeclaration;
}

/** A stack's configuration file, `Pulumi.<stack>.yaml`, before it is merged with the project's. */
export interface StackFile {
    readonly values: ReadonlyMap<string, unknown>;
    readonly encryptionSalt?: string;
    readonly hasSecrets: boolean;
}

/** What the program gets: values as strings, JSON for whatever is not a scalar. */
export interface StackConfig {
    readonly values: Readonly<Record<string, string>>;
    readonly secretKeys: readonly string[];
}

/**
 * The project that `directory` is in: of the next `Pulumi.yaml` on the way up.
 *
 * @param configFile read instead of `Pulumi.<stack>.yaml`, as by the CLI's `--config-file`
 */
export function loadProject(directory: string, configFile?: string): Project {
    if (configFile !== undefined && !existsSync(configFile)) {
        throw new UserError(`There is no file ${configFile}: --config-file names a stack's configuration.`);
    }
    return { ...findProject(directory), ...(configFile === undefined ? {} : { configFile: resolve(configFile) }) };
}

function findProject(directory: string): Project {
    const start = resolve(directory);
    for (let folder = start; ; folder = dirname(folder)) {
        const file = ["Pulumi.yaml", "Pulumi.yml"].map((name) => join(folder, name)).find((path) => existsSync(path));
        if (file !== undefined) {
            return parseProject(folder, file);
        }
        if (folder === dirname(folder)) {
            throw new UserError(
                `There is no Pulumi.yaml in ${start} or above it: name the project's directory with --cwd.`,
            );
        }
    }
}

function parseProject(root: string, file: string): Project {
    const document = readYaml(file);
    const { name, main, description, runtime } = document;
    if (typeof name !== "string" || !/^[A-Za-z0-9_.-]{1,100}$/.test(name)) {
        throw new UserError(`${file}: "name" must be 1 to 100 of [A-Za-z0-9_.-].`);
    }
    const runtimeName = isRecord(runtime) ? runtime.name : runtime;
    if (runtimeName !== "nodejs") {
        throw new UserError(
            `${file}: the runtime is ${JSON.stringify(runtimeName)}; the embedded engine runs "nodejs" only. Use the Pulumi CLI.`,
        );
    }
    for (const key of ["plugins", "packages", "stackConfigDir", "options", "requiredPulumiVersion"]) {
        if (key in document) {
            throw new UserError(`${file}: "${key}" is not supported by the embedded engine: use the Pulumi CLI.`);
        }
    }
    const options = isRecord(runtime) && isRecord(runtime.options) ? runtime.options : {};
    for (const key of Object.keys(options)) {
        if (!["typescript", "tsconfig", "nodeargs", "packagemanager"].includes(key)) {
            throw new UserError(`${file}: runtime option "${key}" is not supported by the embedded engine.`);
        }
    }
    const program = resolve(root, typeof main === "string" ? main : ".");
    const isDirectory = existsSync(program) && statSync(program).isDirectory();
    const backend = document.backend;
    return {
        name,
        root,
        programDirectory: isDirectory ? program : dirname(program),
        entryPoint: isDirectory ? "." : (program.split("/").at(-1) ?? "."),
        ...(typeof description === "string" ? { description } : {}),
        runtime: {
            typescript: options.typescript !== false,
            ...(typeof options.tsconfig === "string" ? { tsconfig: options.tsconfig } : {}),
            nodeArguments: typeof options.nodeargs === "string" ? options.nodeargs.split(/\s+/).filter(Boolean) : [],
        },
        config: parseDeclarations(file, name, document.config),
        ...(isRecord(backend) && typeof backend.url === "string" ? { backendUrl: backend.url } : {}),
    };
}

function parseDeclarations(file: string, project: string, block: unknown): ReadonlyMap<string, ConfigDeclaration> {
    const declarations = new Map<string, ConfigDeclaration>();
    if (block !== undefined && block !== null && !isRecord(block)) {
        throw new UserError(`${file}: "config" must be a mapping of keys to declarations.`);
    }
    for (const [name, declaration] of Object.entries(block ?? {})) {
        const key = qualifiedKey(project, name);
        if (!isRecord(declaration)) {
            // The short form: the value itself, which is the default and says the type.
            declarations.set(key, { fallback: declaration, secret: false });
            continue;
        }
        const { type, items, default: byDefault, value, secret } = declaration;
        if (type !== undefined && !["string", "integer", "boolean", "array", "object"].includes(type as string)) {
            throw new UserError(`${file}: config "${name}" has the unknown type ${JSON.stringify(type)}.`);
        }
        const parsed: ConfigDeclaration = {
            ...(typeof type === "string" ? { type } : {}),
            ...(isRecord(items) ? { items: items } : {}),
            fallback: value ?? byDefault ?? undefined,
            secret: secret === true,
        };
        if (parsed.fallback !== undefined && parsed.type !== undefined && !hasType(parsed.fallback, parsed)) {
            throw new UserError(`${file}: the default of config "${name}" must be of type '${typeName(parsed)}'.`);
        }
        declarations.set(key, parsed);
    }
    return declarations;
}

/** The stacks that have a configuration file beside `Pulumi.yaml`. */
export function configuredStacks(project: Project): readonly string[] {
    return readdirSync(project.root)
        .map((name) => /^Pulumi\.(.+)\.ya?ml$/.exec(name)?.[1])
        .filter((name) => name !== undefined)
        .sort();
}

/**
 * Reads `Pulumi.<stack>.yaml`; undefined where there is none.
 *
 * @throws UserError for a stack whose secrets or environment only the CLI can have, unless it is only to be looked at.
 */
export function loadStackFile(
    project: Project,
    stack: string,
    { toBeLookedAt = false }: { readonly toBeLookedAt?: boolean } = {},
): StackFile | undefined {
    const file =
        project.configFile ??
        ["yaml", "yml"].map((end) => join(project.root, `Pulumi.${stack}.${end}`)).find((path) => existsSync(path));
    if (file === undefined) {
        return undefined;
    }
    const document = readYaml(file);
    const { config, encryptionsalt, secretsprovider, encryptedkey, environment } = document;
    if (environment !== undefined && !toBeLookedAt) {
        throw new UserError(
            `${file}: "environment" (Pulumi ESC) is not supported by the embedded engine: use the Pulumi CLI.`,
        );
    }
    const isPassphrase = ["passphrase", "default", "", undefined].includes(secretsprovider as string);
    if ((encryptedkey !== undefined || !isPassphrase) && !toBeLookedAt) {
        throw new UserError(
            `${file}: of the secrets providers, the embedded engine has "passphrase" only: use the Pulumi CLI.`,
        );
    }
    if (config !== undefined && config !== null && !isRecord(config)) {
        throw new UserError(`${file}: "config" must be a mapping of keys to values.`);
    }
    const values = new Map(
        Object.entries(config ?? {}).map(([key, value]) => [qualifiedKey(project.name, key), value]),
    );
    return {
        values,
        ...(typeof encryptionsalt === "string" && encryptionsalt !== "" ? { encryptionSalt: encryptionsalt } : {}),
        hasSecrets: [...values.values()].some(containsSecure),
    };
}

/**
 * The stack's values over the project's defaults, checked against the types that the project declares. Keys that the
 * project does not declare are passed on, as the CLI does.
 */
export function resolveConfig(
    project: Project,
    stack: string,
    file: StackFile,
    crypter: Crypter | undefined,
): StackConfig {
    const values: Record<string, string> = {};
    const secretKeys: string[] = [];
    const missing: string[] = [];
    const add = (key: string, raw: unknown): void => {
        const secure = containsSecure(raw);
        const plain = secure ? decrypt(key, raw, crypter) : raw;
        const declaration = project.config.get(key);
        if (declaration?.secret === true && !secure && file.values.has(key)) {
            throw new UserError(`Stack '${stack}' with configuration key '${key}' must be encrypted as it's secret.`);
        }
        if (declaration?.type !== undefined && !hasType(plain, declaration)) {
            throw new UserError(
                `Stack '${stack}' with configuration key '${key}' must be of type '${typeName(declaration)}': ` +
                    `correct it in Pulumi.${stack}.yaml.`,
            );
        }
        values[key] = isScalar(plain) ? String(plain ?? "") : JSON.stringify(plain);
        if (secure || declaration?.secret === true) {
            secretKeys.push(key);
        }
    };
    for (const [key, value] of file.values) {
        add(key, value);
    }
    for (const [key, declaration] of project.config) {
        if (key in values) {
            continue;
        }
        if (declaration.fallback !== undefined) {
            add(key, declaration.fallback);
        } else if (key.startsWith(`${project.name}:`)) {
            missing.push(`'${key.slice(project.name.length + 1)}'`);
        }
    }
    if (missing.length > 0) {
        const noun = missing.length === 1 ? "value" : "values";
        throw new UserError(
            `Stack '${stack}' is missing configuration ${noun} ${missing.join(", ")}: set it in Pulumi.${stack}.yaml.`,
        );
    }
    return { values, secretKeys };
}

function decrypt(key: string, value: unknown, crypter: Crypter | undefined): unknown {
    if (Array.isArray(value)) {
        return value.map((element) => decrypt(key, element, crypter));
    }
    if (!isRecord(value)) {
        return value;
    }
    if (typeof value.secure === "string" && Object.keys(value).length === 1) {
        if (crypter === undefined) {
            throw new UserError(`Configuration key '${key}' is encrypted, but the stack's file has no encryptionsalt.`);
        }
        try {
            return crypter.decrypt(value.secure);
        } catch {
            throw new UserError(
                `Configuration key '${key}' cannot be decrypted with this stack's passphrase and salt.`,
            );
        }
    }
    return Object.fromEntries(Object.entries(value).map(([name, element]) => [name, decrypt(key, element, crypter)]));
}

function containsSecure(value: unknown): boolean {
    if (Array.isArray(value)) {
        return value.some(containsSecure);
    }
    if (!isRecord(value)) {
        return false;
    }
    const { secure } = value;
    return (typeof secure === "string" && Object.keys(value).length === 1) || Object.values(value).some(containsSecure);
}

/** As `ValidateConfigValue` of the CLI: strings that read as the type will do, since a decrypted value is a string. */
function hasType(value: unknown, declaration: ItemsDeclaration): boolean {
    switch (declaration.type) {
        case "string":
            return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
        case "integer":
            return Number.isInteger(value) || (typeof value === "string" && /^[+-]?\d+$/.test(value));
        case "boolean":
            return typeof value === "boolean" || value === "true" || value === "false";
        case "array": {
            const { items } = declaration;
            return Array.isArray(value) && (items === undefined || value.every((element) => hasType(element, items)));
        }
        case "object":
            return isRecord(value);
        default:
            return true;
    }
}

function typeName(declaration: ItemsDeclaration): string {
    const { type, items } = declaration;
    return type === "array" && items ? `array<${typeName(items)}>` : (type ?? "string");
}

function qualifiedKey(project: string, key: string): string {
    const parts = key.split(":");
    // The old form, `namespace:config:name`, is still accepted.
    return parts.length === 1
        ? `${project}:${key}`
        : parts.length === 3 && parts[1] === "config"
          ? `${parts[0] ?? ""}:${parts[2] ?? ""}`
          : key;
}

function readYaml(file: string): Record<string, unknown> {
    let document: unknown;
    try {
        document = parseYaml(readFileSync(file, "utf8"));
    } catch (error) {
        throw new UserError(`${file} cannot be read: ${messageOf(error).split("\n")[0] ?? ""}`);
    }
    if (document === null || document === undefined) {
        return {};
    }
    if (!isRecord(document)) {
        throw new UserError(`${file} must be a YAML mapping.`);
    }
    return document;
}

function isScalar(value: unknown): value is string | number | boolean | null | undefined {
    return value === null || value === undefined || typeof value !== "object";
}

function isRecord(value: unknown): value is Record<string, unknown> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

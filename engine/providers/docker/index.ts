import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import {
    asString,
    containsUnknowns,
    diffPaths,
    isArray,
    isObject,
    mapValues,
    type PropertyDiff,
    type PropertyMap,
    secret,
    unwrap,
    withoutSecrets,
} from "../../values";
import type { CallContext, CheckFailure, CheckResult, Provider, ProviderPackage } from "../provider";
import { type BuildContext, hashContext, packContext } from "./buildContext";
import { findCredential, registryAddress, type RegistryCredential, registryOf } from "./credentials";
import { DockerDaemon, encodeCredential, type ProgressMessage } from "./daemon";
import { pushImage } from "./push";

const imageType = "docker:index/image:Image";

/** The package `docker` 5.2.0, as far as its native resource goes: images that are built and pushed. */
export const dockerPackage: ProviderPackage = {
    supports: (token) => token === imageType,
    checkConfig: (config) =>
        Object.keys(config)
            .filter((property) => !["host", "version"].includes(property))
            .map((property) => ({ property, reason: "the embedded engine does not support it: use the Pulumi CLI" })),
    open: (config) => new ImageProvider(asString(config.host)),
};

/** The inputs of an image, as they are used. */
interface ImageSpec {
    readonly name: string;
    readonly skipPush: boolean;
    readonly registry: PropertyMap;
    readonly build: PropertyMap;
    readonly context: BuildContext;
}

class ImageProvider implements Provider {
    public constructor(private readonly host: string | undefined) {}

    public async check(context: CallContext, _olds: PropertyMap | undefined, news: PropertyMap): Promise<CheckResult> {
        // The provider of the CLI takes no secrets: what is one comes back as one by the engine's doing.
        const inputs = withoutSecrets(news);
        const failures = checkSupported(inputs);
        if (failures.length > 0) {
            return { inputs, failures };
        }
        const given = isObject(inputs.build) ? inputs.build : {};
        const platform = given.platform ?? `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
        const directory = given.context ?? ".";
        const dockerfile = given.dockerfile ?? defaultDockerfile(directory);
        let build: PropertyMap = { ...given, context: directory, dockerfile, platform };
        if (!containsUnknowns(directory) && !containsUnknowns(dockerfile)) {
            const found = buildContextOf(context, build);
            const problem = missingFile(found);
            if (problem !== undefined) {
                return { inputs, failures: [problem] };
            }
            build = { ...build, contextDigest: await hashContext(found) };
        }
        const name = asString(inputs.imageName);
        const needsRegistry = inputs.skipPush !== true;
        if (needsRegistry && name !== undefined && !/^(localhost|[^/]*[.:][^/]*)\//.test(name)) {
            const reason = `${JSON.stringify(name)} must begin with its registry, for example docker.io/library/${name}`;
            return { inputs, failures: [{ property: "imageName", reason }] };
        }
        const buildOnPreview = inputs.buildOnPreview === true;
        return { inputs: reveal(news, { ...inputs, build, buildOnPreview }) };
    }

    public diff(
        _context: CallContext,
        old: { readonly inputs: PropertyMap; readonly outputs: PropertyMap },
        news: PropertyMap,
    ): Promise<{ readonly paths: ReadonlyMap<string, PropertyDiff> }> {
        const applied = unwrap(old.outputs.__inputs);
        const olds = withoutSecrets(isObject(applied) ? applied : old.inputs);
        const paths = [...diffPaths(olds, withoutSecrets(news))].filter(
            // Passwords come and go; the image is the same.
            ([path]) => path !== "registry.username" && path !== "registry.password",
        );
        return Promise.resolve({ paths: new Map(paths) });
    }

    public async create(
        context: CallContext,
        inputs: PropertyMap,
    ): Promise<{ readonly id?: string; readonly outputs: PropertyMap }> {
        if (context.preview && !canBuildInPreview(inputs)) {
            return { outputs: inputs };
        }
        const outputs = await this.build(context, inputs);
        return { ...(context.preview ? {} : { id: asString(inputs.imageName) ?? "" }), outputs };
    }

    public async update(
        context: CallContext,
        _old: unknown,
        news: PropertyMap,
    ): Promise<{ readonly outputs: PropertyMap }> {
        return { outputs: context.preview && !canBuildInPreview(news) ? news : await this.build(context, news) };
    }

    /** As with the CLI's provider, images stay in the registry and with the daemon. */
    public delete(): Promise<void> {
        return Promise.resolve();
    }

    public read(
        _context: CallContext,
        old: { readonly id: string; readonly inputs: PropertyMap; readonly outputs: PropertyMap },
    ): ReturnType<Provider["read"]> {
        return Promise.resolve(old);
    }

    /** Building and pushing once more gives what the interrupted run would have. */
    public recover(): Promise<undefined> {
        return Promise.resolve(undefined);
    }

    private async build(context: CallContext, inputs: PropertyMap): Promise<PropertyMap> {
        const spec = specOf(context, inputs);
        const daemon = await DockerDaemon.connect(this.host, context.environment, context.signal);
        const credential = await credentialOf(spec, context);
        const dockerfileName = await runBuild(context, daemon, spec, credential);
        const outputs = {
            dockerfile: dockerfileName,
            context: spec.context.directory,
            baseImageName: spec.name,
            registryServer: asString(spec.registry.server) ?? "",
            imageName: spec.name,
            platform: asString(spec.build.platform) ?? "",
        };
        const isLocal = spec.skipPush || context.preview;
        const repoDigest = isLocal
            ? (await daemon.inspect(spec.name, context.signal)).Id
            : await pushImage(context, daemon, spec.name, credential);
        return { ...outputs, repoDigest, __inputs: secret(withoutSecrets(inputs)) };
    }
}

async function runBuild(
    context: CallContext,
    daemon: DockerDaemon,
    spec: ImageSpec,
    credential: RegistryCredential,
): Promise<string> {
    const [{ BuildSession }, { BuildTrace }] = await Promise.all([import("./session"), import("./trace")]);
    const { build, name } = spec;
    const usesBuildKit = build.builderVersion !== "BuilderV1";
    const credentials = { [credential.serveraddress]: credential };
    const session = usesBuildKit ? new BuildSession(credentials, context.environment) : undefined;
    const trace = new BuildTrace();
    const output: string[] = [];
    const { stream, dockerfileName, done } = packContext(spec.context);
    const { target, platform, network, args, addHosts, cacheFrom } = build;
    const optional = {
        target: asString(target),
        platform: asString(platform),
        networkmode: asString(network),
        extrahosts: isArray(addHosts) ? addHosts.map(String).join(",") : undefined,
        buildargs: isObject(args) ? JSON.stringify(mapValues(args, String)) : undefined,
        cachefrom: isObject(cacheFrom) && isArray(cacheFrom.images) ? JSON.stringify(cacheFrom.images) : undefined,
        session: session?.id,
    };
    const query = {
        version: usesBuildKit ? "2" : "1",
        t: name,
        dockerfile: dockerfileName,
        ...Object.fromEntries(
            Object.entries(optional).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
        ),
    };
    const onMessage = ({ id, stream: text, status, aux }: ProgressMessage): void => {
        const lines =
            id === "moby.buildkit.trace"
                ? trace.lines(aux)
                : [text ?? status ?? ""].map((line) => line.trimEnd()).filter(Boolean);
        output.push(...lines);
        lines.forEach((line) => context.log("info", line, true));
    };
    try {
        await session?.open(daemon);
        const headers = { "Content-Type": "application/x-tar", "X-Registry-Config": encodeCredential(credentials) };
        await Promise.all([
            daemon.follow("/build", query, { body: Readable.from(stream), headers, signal: context.signal, onMessage }),
            done,
        ]);
    } catch (error) {
        if (context.signal.aborted) {
            throw new Error("The build of the image was interrupted.", { cause: error });
        }
        throw new Error(
            `The image ${name} could not be built: ${(error as Error).message}\n${output.join("\n")}`.trimEnd(),
            { cause: error },
        );
    } finally {
        session?.close();
        stream.destroy();
    }
    return dockerfileName;
}

function specOf(context: CallContext, inputs: PropertyMap): ImageSpec {
    const plain = withoutSecrets(inputs);
    const build = isObject(plain.build) ? plain.build : {};
    return {
        name: asString(plain.imageName) ?? "",
        skipPush: plain.skipPush === true,
        registry: isObject(plain.registry) ? plain.registry : {},
        build,
        context: buildContextOf(context, build),
    };
}

function buildContextOf(context: CallContext, build: PropertyMap): BuildContext {
    return {
        base: context.directory,
        directory: asString(build.context) ?? ".",
        dockerfile: asString(build.dockerfile) ?? "Dockerfile",
    };
}

function defaultDockerfile(directory: PropertyMap[string]): string {
    return join(asString(directory) ?? ".", "Dockerfile");
}

/** The program's own credential for the image's registry, or the user's. */
async function credentialOf({ name, registry }: ImageSpec, context: CallContext): Promise<RegistryCredential> {
    const server = asString(registry.server);
    const address = server ? registryAddress(server) : registryOf(name);
    const [username, password] = [asString(registry.username), asString(registry.password)];
    if (username && password) {
        return { username, password, serveraddress: address };
    }
    if (username || password) {
        const missing = username ? "password" : "username";
        context.log("warning", `The registry has no ${missing}: the credential of the Docker configuration is used.`);
    }
    return findCredential(address, context.environment);
}

function missingFile({ base, directory, dockerfile }: BuildContext): CheckFailure | undefined {
    if (!existsSync(resolve(base, directory))) {
        return { property: "build.context", reason: `there is no directory ${directory}` };
    }
    if (existsSync(resolve(base, dockerfile))) {
        return undefined;
    }
    const below = join(directory, dockerfile);
    const hint = existsSync(resolve(base, below))
        ? `; try ${JSON.stringify(below)}, since it is relative to the project`
        : "";
    return { property: "build.dockerfile", reason: `there is no file ${dockerfile}${hint}` };
}

const knownInputs = new Set(["imageName", "build", "buildOnPreview", "registry", "skipPush"]);
const knownBuild = new Set([
    "addHosts",
    "args",
    "builderVersion",
    "cacheFrom",
    "context",
    "contextDigest",
    "dockerfile",
    "network",
    "platform",
    "target",
]);

function checkSupported(inputs: PropertyMap): readonly CheckFailure[] {
    const build = isObject(inputs.build) ? inputs.build : {};
    const unknownKeys = [
        ...Object.keys(inputs).filter((key) => !knownInputs.has(key)),
        ...Object.keys(build)
            .filter((key) => !knownBuild.has(key))
            .map((key) => `build.${key}`),
    ];
    const failures = unknownKeys.map((property) => ({ property, reason: `${imageType} has no such property` }));
    const builder = asString(build.builderVersion);
    if (builder !== undefined && !["BuilderV1", "BuilderBuildKit"].includes(builder)) {
        failures.push({ property: "build.builderVersion", reason: "it must be BuilderV1 or BuilderBuildKit" });
    }
    if (isObject(build.cacheFrom) && build.cacheFrom.images === undefined) {
        failures.push({ property: "build.cacheFrom", reason: "it needs `images`" });
    }
    return failures;
}

/** The program's secrets stay marked in what was made of its inputs. */
function reveal(news: PropertyMap, checked: PropertyMap): PropertyMap {
    return mapValues(checked, (value, key) => {
        const given = news[key];
        if (given !== undefined && unwrap(given) !== given) {
            return secret(value);
        }
        return isObject(value) && isObject(given) ? reveal(given, value) : value;
    });
}

function canBuildInPreview(inputs: PropertyMap): boolean {
    const { build, imageName, buildOnPreview } = withoutSecrets(inputs);
    return buildOnPreview === true && !containsUnknowns(build) && !containsUnknowns(imageName);
}

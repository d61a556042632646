import {
    type handleUnaryCall,
    type sendUnaryData,
    Server,
    ServerCredentials,
    type ServerUnaryCall,
    status,
} from "@grpc/grpc-js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb";
import {
    GetRootResourceResponse,
    type LogRequest,
    LogSeverity,
    RequirePulumiVersionResponse,
    SetRootResourceResponse,
} from "@pulumi/pulumi/proto/engine_pb";
import { ResourceMonitorService } from "@pulumi/pulumi/proto/resource_grpc_pb";
import {
    DeploymentInfo,
    type ReadResourceRequest,
    ReadResourceResponse,
    type RegisterResourceOutputsRequest,
    type RegisterResourceRequest,
    RegisterResourceResponse,
    type ResourceInvokeRequest,
    ResourceInvokeResponse,
    ResourceMonitorFeature,
    SupportsFeatureResponse,
} from "@pulumi/pulumi/proto/resource_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { messageOf, UserError } from "../contract/errors";
import { organization } from "./backend";
import type { Deployment, Registration } from "./deployment";
import { type Severity, unsupported } from "./providers/provider";
import type { Alias, CustomTimeouts, Goal } from "./state";
import type { SocketGate } from "./socketGate";
import { DeploymentStopped, type EngineEvent } from "./steps";
import { asString, type PropertyMap, some, isUnsupportedValue, unknown } from "./values";

export interface MonitorOptions {
    readonly project: string;
    readonly stack: string;
    readonly preview: boolean;
    readonly parallel: number;
    readonly emit: (event: EngineEvent) => void;
}

/** The features that the monitor has, by the names that `SupportsFeature` uses. */
const features: Readonly<Record<string, ResourceMonitorFeature>> = {
    secrets: ResourceMonitorFeature.RESOURCE_MONITOR_FEATURE_SECRETS,
    resourceReferences: ResourceMonitorFeature.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    aliasSpecs: ResourceMonitorFeature.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    deletedWith: ResourceMonitorFeature.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
};

/** As many bytes as the SDK allows itself: more than the 4 MiB that gRPC has by default. */
const maxMessageBytes = 400 * 1024 * 1024;

/**
 * Serves `pulumirpc.ResourceMonitor` and `pulumirpc.Engine`, through which the program says what it wants, and translates
 * between their messages and a `Deployment`.
 */
export class Monitor {
    private readonly server = new Server({
        // Its own statistics, which nobody asks for.
        "grpc.enable_channelz": 0,
        "grpc.max_receive_message_length": maxMessageBytes,
        "grpc.max_send_message_length": maxMessageBytes,
    });
    private rootUrn = "";
    private signal: () => void = () => undefined;
    /** Resolves when the program says that it has registered all it is going to. */
    public readonly finished = new Promise<void>((resolve) => (this.signal = resolve));
    /** Whether the program has logged an error: its deployment is then not to be completed. */
    public loggedError = false;

    public constructor(
        private readonly options: MonitorOptions,
        private readonly deployment: Promise<Deployment>,
    ) {}

    /** Serves the connections that come through the gate. */
    public serve(gate: SocketGate): void {
        const refuse = (what: string): handleUnaryCall<unknown, never> =>
            this.unary(() => Promise.reject(unsupported(what)));
        this.server.addService(ResourceMonitorService, {
            getDeploymentInfo: this.unary(() => Promise.resolve(this.deploymentInfo())),
            supportsFeature: this.unary(async (request: { getId(): string }) =>
                Promise.resolve(new SupportsFeatureResponse().setHassupport(request.getId() in features)),
            ),
            registerResource: this.unary((request: RegisterResourceRequest) => this.registerResource(request)),
            registerResourceOutputs: this.unary(async (request: RegisterResourceOutputsRequest) => {
                await (await this.deployment).registerOutputs(request.getUrn(), propertiesOf(request.getOutputs()));
                return new Empty();
            }),
            readResource: this.unary((request: ReadResourceRequest) => this.readResource(request)),
            invoke: this.unary((request: ResourceInvokeRequest) => this.invoke(request)),
            signalAndWaitForShutdown: this.unary(() => {
                this.signal();
                return Promise.resolve(new Empty());
            }),
            call: refuse("A method call on a resource"),
            existsResource: refuse("Looking whether a resource exists"),
            registerStackTransform: refuse("A stack transform"),
            registerStackInvokeTransform: refuse("An invoke transform"),
            registerResourceHook: refuse("A resource hook"),
            registerErrorHook: refuse("An error hook"),
            registerPackage: refuse("A parameterized package"),
        });
        this.server.addService(EngineService, {
            log: this.unary((request: LogRequest) => Promise.resolve(this.log(request))),
            getRootResource: this.unary(() => Promise.resolve(new GetRootResourceResponse().setUrn(this.rootUrn))),
            setRootResource: this.unary((request: { getUrn(): string }) => {
                this.rootUrn = request.getUrn();
                return Promise.resolve(new SetRootResourceResponse());
            }),
            startDebugging: refuse("Debugging the program"),
            requirePulumiVersion: this.unary(() => Promise.resolve(new RequirePulumiVersionResponse())),
        });
        const injector = this.server.createConnectionInjector(ServerCredentials.createInsecure());
        gate.handOver((socket) => injector.injectConnection(socket));
    }

    public close(): void {
        this.server.forceShutdown();
    }

    private unary<Request, Response>(
        handle: (request: Request) => Promise<Response>,
    ): handleUnaryCall<Request, Response> {
        return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
            handle(call.request).then(
                (response) => callback(null, response),
                (error: unknown) => {
                    if (error instanceof DeploymentStopped) {
                        // The reason has been shown. Whatever the SDK is told now, some calls of its own fail afterwards and it
                        // prints their stacks; so it is left to wait until the program is ended.
                        return;
                    }
                    const code = error instanceof UserError ? status.FAILED_PRECONDITION : status.UNKNOWN;
                    callback({ code, details: messageOf(error) });
                },
            );
        };
    }

    private deploymentInfo(): DeploymentInfo {
        const { project, stack, preview, parallel } = this.options;
        return new DeploymentInfo()
            .setProject(project)
            .setStack(stack)
            .setOrganization(organization)
            .setDryrun(preview)
            .setParallel(parallel)
            .setSupportedfeaturesList(Object.values(features));
    }

    private log(request: LogRequest): Empty {
        const severities: readonly Severity[] = ["debug", "info", "warning", "error"];
        const severity = severities[request.getSeverity()] ?? "info";
        this.loggedError ||= request.getSeverity() === LogSeverity.ERROR;
        const urn = request.getUrn();
        // The SDK takes any monitor for that of a CLI that is too old.
        const message = request
            .getMessage()
            .replace(
                /The Pulumi CLI does not support ([^.]*)\. Please update the Pulumi CLI\.?/,
                (_, what) => unsupported(`The option or feature "${String(what)}"`).message,
            );
        this.options.emit({
            kind: "log",
            severity,
            ...(urn ? { urn } : {}),
            message,
            ephemeral: request.getEphemeral(),
        });
        return new Empty();
    }

    private async registerResource(request: RegisterResourceRequest): Promise<RegisterResourceResponse> {
        const deployment = await this.deployment;
        if (deployment.executor.stopped) {
            throw new DeploymentStopped("The deployment is ending.");
        }
        const what = `${request.getType()} ${request.getName()}`;
        const inputs = propertiesOf(request.getObject());
        try {
            refuseUnsupported(request, inputs);
        } catch (error) {
            deployment.executor.fail(undefined, new UserError(`${what}: ${messageOf(error)}`));
            throw new DeploymentStopped(messageOf(error));
        }
        const { urn, id, outputs, custom } = await deployment.register(registrationOf(request, inputs));
        return new RegisterResourceResponse()
            .setUrn(urn)
            .setId(id ?? "")
            .setObject(structOf(custom ? outputs : {}));
    }

    private async readResource(request: ReadResourceRequest): Promise<ReadResourceResponse> {
        const goal: Goal = {
            type: request.getType(),
            name: request.getName(),
            custom: true,
            ...(request.getParent() ? { parent: request.getParent() } : {}),
            inputs: propertiesOf(request.getProperties()),
            ...(request.getProvider() ? { provider: request.getProvider() } : {}),
            dependencies: request.getDependenciesList(),
            propertyDependencies: {},
            ignoreChanges: [],
            replaceOnChanges: [],
            additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
            aliases: [],
        };
        const version = request.getVersion();
        const deployment = await this.deployment;
        const state = await deployment.read({ goal, providers: {}, ...(version ? { version } : {}) }, request.getId());
        return new ReadResourceResponse().setUrn(state.urn).setProperties(structOf(state.outputs));
    }

    private async invoke(request: ResourceInvokeRequest): Promise<ResourceInvokeResponse> {
        const deployment = await this.deployment;
        const args = propertiesOf(request.getArgs());
        const token = request.getTok();
        if (token === "pulumi:pulumi:getResource") {
            const urn = asString(args.urn) ?? "";
            const state = deployment.resource(urn);
            if (state === undefined) {
                throw new UserError(`The program refers to ${urn}, which it has not registered.`);
            }
            return new ResourceInvokeResponse().setReturn(
                structOf({ urn, id: state.id ?? unknown, state: state.outputs }),
            );
        }
        const result = await deployment.invoke(token, args, request.getProvider(), request.getVersion() || undefined);
        return new ResourceInvokeResponse().setReturn(structOf(result));
    }
}

/** @throws UserError naming the first thing asked for that the engine does not have: nothing is silently ignored. */
function refuseUnsupported(request: RegisterResourceRequest, inputs: PropertyMap): void {
    const hooks = request.getHooks()?.toObject() ?? {};
    const asked: readonly (readonly [string, boolean])[] = [
        ["A remote component", request.getRemote()],
        ["The option `import`", request.getImportid() !== ""],
        ["The option `transforms`", request.getTransformsList().length > 0],
        ["The option `hooks`", Object.values(hooks).some((names) => Array.isArray(names) && names.length > 0)],
        ["The option `replaceWith`", request.getReplaceWithList().length > 0],
        ["The option `replacementTrigger`", request.hasReplacementTrigger()],
        ["The option `hideDiffs`", request.getHidediffsList().length > 0],
        ["The option `envVarMappings`", request.getEnvvarmappingsMap().getLength() > 0],
        ["The option `stateMigrations`", request.getStateMigrationsList().length > 0],
        ["The option `pluginDownloadURL`", request.getPlugindownloadurl() !== ""],
        ["A parameterized package", request.getPackageref() !== ""],
        ["An output value as an input", some(inputs, isUnsupportedValue)],
    ];
    const found = asked.find(([, isAsked]) => isAsked);
    if (found !== undefined) {
        throw unsupported(found[0]);
    }
}

function registrationOf(request: RegisterResourceRequest, inputs: PropertyMap): Registration {
    const timeouts = timeoutsOf(request);
    const optional = {
        parent: request.getParent() || undefined,
        provider: request.getProvider() || undefined,
        protect: request.hasProtect() ? request.getProtect() : undefined,
        retainOnDelete: request.hasRetainondelete() ? request.getRetainondelete() : undefined,
        deleteBeforeReplace: request.getDeletebeforereplacedefined() ? request.getDeletebeforereplace() : undefined,
        deletedWith: request.getDeletedwith() || undefined,
        customTimeouts: Object.keys(timeouts).length > 0 ? timeouts : undefined,
    };
    const goal = {
        type: request.getType(),
        name: request.getName(),
        custom: request.getCustom(),
        inputs,
        ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
        dependencies: [...request.getDependenciesList()].sort(),
        propertyDependencies: Object.fromEntries(
            request
                .getPropertydependenciesMap()
                .toArray()
                .map(([key, value]): [string, readonly string[]] => [key, [...dependencyUrns(value)].sort()]),
        ),
        ignoreChanges: request.getIgnorechangesList(),
        replaceOnChanges: request.getReplaceonchangesList(),
        additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
        aliases: [
            ...request.getAliasurnsList().map((urn): Alias => ({ urn })),
            ...request.getAliasesList().map((alias): Alias => {
                const spec = alias.getSpec();
                if (spec === undefined) {
                    return { urn: alias.getUrn() };
                }
                return {
                    ...(spec.getName() ? { name: spec.getName() } : {}),
                    ...(spec.getType() ? { type: spec.getType() } : {}),
                    ...(spec.getStack() ? { stack: spec.getStack() } : {}),
                    ...(spec.getProject() ? { project: spec.getProject() } : {}),
                    ...(spec.getParenturn() ? { parent: spec.getParenturn() } : {}),
                    ...(spec.getNoparent() ? { noParent: true } : {}),
                };
            }),
        ],
    } as Goal;
    const version = request.getVersion();
    return {
        goal,
        ...(version ? { version } : {}),
        providers: Object.fromEntries(request.getProvidersMap().toArray()),
    };
}

/** `toArray` of a protobuf map gives messages as arrays of their fields. */
function dependencyUrns(value: unknown): readonly string[] {
    const [urns] = value as readonly [readonly string[] | undefined];
    return urns ?? [];
}

function timeoutsOf(request: RegisterResourceRequest): CustomTimeouts {
    const message = request.getCustomtimeouts();
    const texts = { create: message?.getCreate(), update: message?.getUpdate(), delete: message?.getDelete() };
    return Object.fromEntries(
        Object.entries(texts)
            .filter(([, text]) => text)
            .map(([key, text]) => [key, parseDuration(text ?? "")]),
    );
}

/**
 * Seconds of a duration as Go writes it: `1h30m`, `90s`, `1500ms`.
 *
 * @throws UserError where it is none.
 */
export function parseDuration(text: string): number {
    const units: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9 };
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)/g)];
    if (parts.length === 0 || parts.map(([part]) => part).join("") !== text) {
        throw new UserError(`customTimeouts: ${JSON.stringify(text)} is not a duration such as "5m" or "90s".`);
    }
    return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (units[unit ?? ""] ?? 0), 0);
}

function propertiesOf(struct: Struct | undefined): PropertyMap {
    return struct?.toJavaScript() ?? {};
}

function structOf(properties: PropertyMap): Struct {
    return Struct.fromJavaScript(properties);
}

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { Admission } from "./components/admission";
import { ArtifactStore } from "./components/artifactStore";
import type * as azureComponents from "./components/azure";
import { BuildIdentity } from "./components/buildIdentity";
import { BuildJob } from "./components/buildJob";
import { BuildNamespace } from "./components/buildNamespace";
import { hasName } from "./components/egress";
import { receiversOf } from "./components/exports";
import type { DeclareImage } from "./components/images";
import { imagesOf } from "./components/images";
import { judgeBuilds } from "./components/judge";
import { LaunchAccess } from "./components/launchAccess";
import { programsOf, readMirrorScripts } from "./components/mirrorPrograms";
import { PullSecret } from "./components/pullSecret";
import type * as pipelineComponents from "./components/pipeline";
import { RepoMirror } from "./components/repoMirror";
import { orRunError } from "./components/runError";
import { declareDependencies } from "./components/testDependencies";
import type { Settings } from "./config";
import { readSettings } from "./config";
import type { AzureSettings } from "./config/azure";
import { readCredentials } from "./config/credentials";
import type { MirrorPlan } from "./config/mirror";
import { planMirrors } from "./config/mirror";
import type * as pipelinePlans from "./pipeline/plan";
import { handedJudgement, plannedBuilds } from "./source/handedPlans";
import { planImage, planToolchain } from "./source/image";
import type { BuildPlan } from "./source/plan";
import { checkedOut } from "./source/plan";

/**
 * Pulumi's SDK takes down a stack for each of its promises: with hundreds of builds that is half of the program's time, and
 * nobody reads them. What is wrong with the configuration or a source is said without one.
 */
const fewEnoughForStacks = 50;
/** Where Entra exchanges the cluster's token for one of Azure's. */
const tokenEndpoint = "https://login.microsoftonline.com";

const { settings, credentials, plans, pipeline, mirrorPlan } = orRunError(() => {
    const config = new pulumi.Config();
    const read = readSettings(config, { project: pulumi.getProject(), stack: pulumi.getStack() });
    const planned = plannedBuilds(read, __dirname);
    const configured = readConfiguredPipeline(read, planned);
    const notes = handedJudgement(read, __dirname) ?? judgeBuilds(read, planned, configured?.plan.steps);
    notes.forEach((note) => void pulumi.log.info(note));
    return {
        settings: read,
        credentials: readCredentials(config),
        plans: planned,
        pipeline: configured,
        mirrorPlan: planMirrors(read, checkedOut(planned)),
    };
});

if (plans.length > fewEnoughForStacks) {
    Error.stackTraceLimit = 0;
}

const cluster = new k8s.Provider("cluster", {
    kubeconfig: settings.kubeconfig || undefined,
    context: settings.kubeContext || undefined,
    enableServerSideApply: true,
});
const onCluster = { providers: { kubernetes: cluster } };

const namespace = new BuildNamespace(
    "builds",
    {
        name: settings.namespace,
        create: settings.createNamespace,
        isPrepared: settings.preparedNamespace,
        maxPods: settings.maxPods,
        hasMirrors: mirrorPlan !== undefined,
        dependencies: Object.keys(settings.dependencies).length,
        egress: {
            endpoints: settings.azure ? [settings.blobEndpoint, tokenEndpoint] : [settings.blobEndpoint],
            privateAddresses: settings.azure?.storagePrivateAddresses ?? [],
            flavor: settings.azure?.networkPolicy ?? "kubernetes",
        },
        exports: settings.exports,
        wrapperScript: fs.readFileSync(path.join(__dirname, "exporter", "wrapper", "wrap.sh"), "utf8"),
    },
    onCluster,
);
const admission =
    settings.admission.inCluster &&
    new Admission(
        "admission",
        {
            ...{ namespace: namespace.name, namespaceName: settings.namespace },
            ...{ nodes: settings.admission.nodes, rules: settings.admission.rules },
            ...{ kubeconfig: settings.kubeconfig, kubeContext: settings.kubeContext },
        },
        onCluster,
    );
const { store, identity } = settings.azure ? onAzure(settings, settings.azure) : onAnyStore();
if (settings.launchers.length > 0) {
    new LaunchAccess("launch", { ...settings, namespace: namespace.name, groups: settings.launchers }, onCluster);
}
const pullSecret =
    credentials.pull &&
    new PullSecret("pull", { namespace: namespace.name, server: registryHost(), ...credentials.pull }, onCluster);
const imagePullSecrets = [
    ...(pullSecret ? [pullSecret.secret] : []),
    ...(settings.imagePullSecret === "" ? [] : [settings.imagePullSecret]),
];
const dependencies = declareDependencies({ ...settings, namespace: namespace.name, imagePullSecrets }, onCluster);
const credential = credentials.push && { server: registryHost(), ...credentials.push };
const declareImage = imagesOf(settings, credential, onCluster);
const exporterImage =
    settings.exporterImage ||
    // No BUILD_TAG begins like this, and so no build's image has this name.
    declareImage("_exporter", {
        imageName: `${settings.registry}/ke-1-exporter:${exporterVersion()}`,
        context: "exporter/image",
    }).reference;

const mirror = mirrorPlan && declareMirror(mirrorPlan);
const toolchains = new Map<string, ReturnType<DeclareImage>>();

const launched = plans.map((plan) => {
    const image = imageOf(plan);
    const build = {
        ...settings,
        ...plan,
        image,
        exporterImage,
        namespace: namespace.name,
        ...identity,
        imagePullSecrets,
        resolvesNames: [settings.blobEndpoint, ...receiversOf(settings.exports), ...checkedOut([plan])].some(hasName),
        checkout: plan.checkout && mirror && { ...plan.checkout, ...mirror },
        notify: {
            pushgateway: settings.pushgateway,
            webhook: settings.webhook,
            webhookSecret: credentials.webhookSecret,
        },
        wrapperConfigMap: namespace.wrapperConfigMap,
        containerUrl: store.containerUrl,
    };
    const options = { ...onCluster, dependsOn: [...(admission ? [admission.enforced] : []), ...dependencies] };
    if (pipeline) {
        const { result } = new pipeline.Pipeline(plan.buildTag, { ...build, ...pipeline.plan }, options);
        return { buildTag: plan.buildTag, image, pipeline: result };
    }
    const { job, result } = new BuildJob(plan.buildTag, build, options);
    return {
        buildTag: plan.buildTag,
        image,
        job,
        outcome: result.outcome,
        binUrl: result.binUrl,
        logsUrl: result.logsUrl,
        manifestUrl: result.manifestUrl,
        artifacts: result.artifacts,
        durations: result.durations,
        // Only of a stack whose builds can have any.
        ...(settings.companions.sidecars.length > 0 ? { summaries: result.summaries } : {}),
    };
});

/** The stack's outputs: those of the one build; with several tags at once, `builds` has each tag's. */
export = launched.length === 1
    ? { ...launched[0] }
    : { builds: Object.fromEntries(launched.map((build) => [build.buildTag, build])) };

/** The pipeline, where one is configured: loaded only then, as the reader of its definition takes a moment. */
function readConfiguredPipeline(read: Settings, planned: readonly BuildPlan[]) {
    if (read.pipeline === "") {
        return undefined;
    }
    /* eslint-disable @typescript-eslint/no-require-imports */
    const { planPipeline } = require("./pipeline/plan") as typeof pipelinePlans;
    const { Pipeline } = require("./components/pipeline") as typeof pipelineComponents;
    /* eslint-enable @typescript-eslint/no-require-imports */
    return { Pipeline, plan: planPipeline(read, planned, __dirname) };
}

/** The image that a build runs in: with its source, or, where that comes from a mirror, without. */
function imageOf(plan: BuildPlan): pulumi.Input<string> {
    if (!plan.checkout) {
        return settings.image || declareImage(plan.buildTag, planImage(settings, plan)).reference;
    }
    const planned = planToolchain(settings, plan);
    if (typeof planned === "string") {
        return planned;
    }
    const made = toolchains.get(planned.imageName) ?? declareImage(`_${path.basename(planned.context)}`, planned);
    toolchains.set(planned.imageName, made);
    return made.reference;
}

function declareMirror({ mirrors, image, secretOrigin }: MirrorPlan) {
    const access = { image, secret: settings.mirrorSecret, secretOrigin };
    const scripts = readMirrorScripts(__dirname);
    if (settings.preparedNamespace) {
        // Its programs are there; there is no mirror.
        return { ...access, programs: programsOf(scripts, [], settings.runAsUser, namespace.name).metadata.name };
    }
    const { claim, programs } = new RepoMirror(
        "mirror",
        {
            ...access,
            mirrors,
            namespace: namespace.name,
            checkedOut: checkedOut(plans),
            scripts,
            interval: settings.mirrorInterval,
            deadlineSeconds: settings.deadlineSeconds,
            runAsUser: settings.runAsUser,
            memoryLimit: settings.mirrorMemoryLimit,
            volume: {
                size: settings.mirrorSize,
                storageClass: settings.mirrorStorageClass,
                directory: settings.mirrorDirectory,
                name: `ke1-mirror-${settings.namespace}`,
            },
            egress: {
                privateAddresses: settings.mirrorAddresses,
                flavor: settings.azure?.networkPolicy ?? "kubernetes",
            },
            imagePullSecrets,
        },
        onCluster,
    );
    return { ...access, claim, programs };
}

/** A store that is reached with a key: the embedded platform's, or one of the user's own. */
function onAnyStore() {
    const made = new ArtifactStore("artifacts", {
        endpoint: settings.blobEndpoint,
        container: settings.blobContainer,
    });
    const { serviceAccount, credentialSecret } = new BuildIdentity(
        "identity",
        {
            namespace: namespace.name,
            endpoint: settings.blobEndpoint,
            container: made.container,
            kubeconfig: settings.kubeconfig,
            kubeContext: settings.kubeContext,
            validFrom: new Date().toISOString().slice(0, "YYYY-MM-DD".length),
            isPrepared: settings.preparedNamespace,
        },
        onCluster,
    );
    return { store: made, identity: { serviceAccount, credentialSecret } };
}

/** A store that is reached with identities alone. */
function onAzure({ blobContainer, launchers }: Settings, azure: AzureSettings) {
    // Loaded only where it is needed: it takes 0.4 s.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    const azureModule = require("./components/azure") as typeof azureComponents;
    const { AzureArtifactStore, AzureBuildIdentity, AzureLaunchAccess } = azureModule;
    const storeName = `${azure.storageAccount}/${blobContainer}`;
    const made = new AzureArtifactStore("artifacts", {
        resourceGroup: azure.resourceGroup,
        location: azure.location,
        account: azure.storageAccount,
        container: blobContainer,
        exists: azure.storageExists,
        sku: azure.storageSku,
        allowedAddresses: azure.storageAllowedAddresses,
        allowedSubnets: azure.storageAllowedSubnets,
        softDeleteDays: azure.softDeleteDays,
        logRetentionDays: azure.logRetentionDays,
        artifactCoolDays: azure.artifactCoolDays,
        immutabilityDays: azure.immutabilityDays,
    });
    const { serviceAccount } = new AzureBuildIdentity(
        "identity",
        {
            namespace: namespace.name,
            namespaceName: settings.namespace,
            clientId: azure.identityClientId,
            resourceGroup: azure.resourceGroup,
            location: azure.location,
            oidcIssuer: azure.oidcIssuer,
            storeName,
            containerId: made.containerId,
        },
        onCluster,
    );
    if (launchers.length > 0) {
        new AzureLaunchAccess("readers", { groups: launchers, storeName, containerId: made.containerId });
    }
    return { store: made, identity: { serviceAccount } };
}

function registryHost(): string {
    return settings.registry.split("/", 1)[0] ?? "";
}

/** The exporter's binary is the same for the same source (docs/exporter.md), so its hash is its version. */
function exporterVersion(): string {
    const binary = path.join(__dirname, "exporter", "image", "ke1-exporter");
    if (!fs.existsSync(binary)) {
        throw new pulumi.RunError("the exporter is not built: run `make exporter`, or set exporterImage");
    }
    return createHash("sha256").update(fs.readFileSync(binary)).digest("hex").slice(0, 12);
}

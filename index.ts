import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { ArtifactStore } from "./components/artifactStore";
import { BuildIdentity } from "./components/buildIdentity";
import { BuildImage } from "./components/buildImage";
import { BuildJob } from "./components/buildJob";
import { BuildNamespace } from "./components/buildNamespace";
import { readSettings } from "./config";
import { UserError } from "./contract/errors";
import { planImage } from "./source/image";
import { planBuilds } from "./source/plan";

const { settings, plans } = orRunError(() => {
    const read = readSettings(new pulumi.Config(), { project: pulumi.getProject(), stack: pulumi.getStack() });
    return { settings: read, plans: planBuilds(read, __dirname) };
});

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
        maxPods: settings.maxPods,
        blobEndpoint: settings.blobEndpoint,
        wrapperScript: fs.readFileSync(path.join(__dirname, "exporter", "wrapper", "wrap.sh"), "utf8"),
    },
    onCluster,
);
const store = new ArtifactStore("artifacts", {
    endpoint: settings.blobEndpoint,
    container: settings.blobContainer,
});
const identity = new BuildIdentity(
    "identity",
    {
        namespace: namespace.name,
        endpoint: settings.blobEndpoint,
        container: store.container,
        kubeconfig: settings.kubeconfig,
        kubeContext: settings.kubeContext,
        validFrom: new Date().toISOString().slice(0, "YYYY-MM-DD".length),
    },
    onCluster,
);
const exporterImage =
    settings.exporterImage ||
    // No BUILD_TAG begins like this, and so no build's image has this name.
    new BuildImage("_exporter", {
        imageName: `${settings.registry}/ke-1-exporter:${exporterVersion()}`,
        context: "exporter/image",
    }).reference;

const launched = plans.map((plan) => {
    const image = settings.image || new BuildImage(plan.buildTag, planImage(settings, plan)).reference;
    const { job, result } = new BuildJob(
        plan.buildTag,
        {
            ...settings,
            ...plan,
            image,
            exporterImage,
            namespace: namespace.name,
            serviceAccount: identity.serviceAccount,
            credentialSecret: identity.credentialSecret,
            wrapperConfigMap: namespace.wrapperConfigMap,
            containerUrl: store.containerUrl,
        },
        onCluster,
    );
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
    };
});

/** The stack's outputs: those of the one build; with several tags at once, `builds` has each tag's. */
export = launched.length === 1
    ? { ...launched[0] }
    : { builds: Object.fromEntries(launched.map((build) => [build.buildTag, build])) };

/** The exporter's binary is the same for the same source (docs/exporter.md), so its hash is its version. */
function exporterVersion(): string {
    const binary = path.join(__dirname, "exporter", "image", "ke1-exporter");
    if (!fs.existsSync(binary)) {
        throw new pulumi.RunError("the exporter is not built: run `make exporter`, or set exporterImage");
    }
    return createHash("sha256").update(fs.readFileSync(binary)).digest("hex").slice(0, 12);
}

/** What the user can mend is shown as one line, without a stack. */
function orRunError<T>(read: () => T): T {
    try {
        return read();
    } catch (error) {
        throw error instanceof UserError ? new pulumi.RunError(error.message) : error;
    }
}

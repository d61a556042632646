import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { ArtifactStore } from "./components/artifactStore";
import { BuildService, serviceAccountName } from "./components/buildService";
import { imagesOf } from "./components/images";
import { readMirrorScripts } from "./components/mirrorPrograms";
import { orRunError } from "./components/runError";
import { readSettings } from "./config";
import { readCredentials } from "./config/credentials";
import { preparedImageBuilder } from "./config/imageBuilder";
import { UserError } from "./contract/errors";

/*
 * The program of a stack that has `service` in its configuration: a service in the cluster, instead of builds
 * (docs/service-cluster.md).
 */

const { settings, credentials, service } = orRunError(() => {
    const config = new pulumi.Config();
    const read = readSettings(config, { project: pulumi.getProject(), stack: pulumi.getStack() });
    if (!read.service) {
        throw new UserError("service is not set");
    }
    return { settings: read, credentials: readCredentials(config), service: read.service };
});

const cluster = new k8s.Provider("cluster", {
    kubeconfig: settings.kubeconfig || undefined,
    context: settings.kubeContext || undefined,
    enableServerSideApply: true,
});
const onCluster = { providers: { kubernetes: cluster } };
const registryHost = settings.registry.split("/", 1)[0] ?? "";
const credential = credentials.push && { server: registryHost, ...credentials.push };
const { imageBuilder } = settings;
const account = { namespace: settings.namespace, name: serviceAccountName };
const declareImage = imagesOf(settings, credential, onCluster, [account]);

const store = new ArtifactStore("artifacts", { endpoint: settings.blobEndpoint, container: settings.blobContainer });
const exporterImage =
    settings.exporterImage || imageOf("_exporter", "ke-1-exporter", "exporter/image", "ke1-exporter", "make exporter");
const image = service.image || imageOf("_service", "ke-1-service", "service/image", "ke1.tar", "make service-image");

const { kubeconfig, kubeContext, blobEndpoint, runAsUser } = settings;
const made = new BuildService(
    "service",
    {
        ...{ service, image, kubeconfig, kubeContext, blobEndpoint, runAsUser, registryHost },
        namespace: settings.namespace,
        createNamespace: settings.createNamespace,
        imagePullSecret: settings.imagePullSecret,
        ...(credentials.pull ? { pull: { server: registryHost, ...credentials.pull } } : {}),
        // Without a cluster DNS, which the embedded platform has not, a pod that asks for one would never start.
        resolvesNames: !service.onPlatform,
        slot: {
            maxPods: settings.maxPods,
            egress: { endpoints: [blobEndpoint], privateAddresses: settings.mirrorAddresses, flavor: "kubernetes" },
            exports: settings.exports,
            wrapperScript: fs.readFileSync(path.join(__dirname, "exporter", "wrapper", "wrap.sh"), "utf8"),
            identity: {
                ...{ endpoint: blobEndpoint, container: store.container, kubeconfig, kubeContext },
                validFrom: new Date().toISOString().slice(0, "YYYY-MM-DD".length),
            },
            ...(settings.admission.inCluster
                ? {
                      admission: {
                          ...{ nodes: settings.admission.nodes, rules: settings.admission.rules },
                          ...{ kubeconfig, kubeContext },
                      },
                  }
                : {}),
            sources: service.sources,
            scripts: readMirrorScripts(__dirname),
            runAsUser,
            isQueued: service.builds["queue"] !== undefined,
        },
        builds: {
            ...{ registry: settings.registry, blobEndpoint, blobContainer: store.container, exporterImage },
            ...(settings.baseImage === "" ? {} : { baseImage: settings.baseImage }),
            ...(imageBuilder ? preparedImageBuilder(imageBuilder) : {}),
        },
        ...(imageBuilder?.credentialFile ? { registryCredentialFile: imageBuilder.credentialFile } : {}),
    },
    onCluster,
);

/** The stack's outputs. */
export = { namespace: made.namespace, deployment: made.deployment, slots: made.slots, image, url: made.url };

/** The file is the same for the same source, so its hash is its version. */
function imageOf(
    name: string,
    repository: string,
    context: string,
    file: string,
    makes: string,
): pulumi.Output<string> {
    const content = path.join(__dirname, context, file);
    if (!fs.existsSync(content)) {
        throw new pulumi.RunError(`${context}/${file} is not there: run \`${makes}\``);
    }
    const version = createHash("sha256").update(fs.readFileSync(content)).digest("hex").slice(0, 12);
    const isService = context === "service/image";
    return declareImage(name, {
        imageName: `${settings.registry}/${repository}:${version}`,
        context,
        ...(isService && settings.baseImage !== "" ? { buildArgs: { BASE_IMAGE: settings.baseImage } } : {}),
    }).reference;
}

import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import { Cluster } from "../launcher/cluster";
import { platformUp } from "../platform";
import { stopDaemon } from "../platform/daemon";
import { hasServices } from "../platform/gateway";
import { ke1Home, servicesDirectory } from "../platform/home";
import { readSettings } from "../platform/settings";
import { required, storageKey } from "./context";

const labels = { "app.kubernetes.io/name": "ke-1-build", "app.kubernetes.io/managed-by": "ke1" };

/** Brings the store's key to the service, and the registry's where it builds images; prints only the name of its Secret. */
export async function grantStore(): Promise<void> {
    const endpoint = required("KE1_BLOB_ENDPOINT");
    const secret = required("KE1_SECRET");
    const credential = JSON.stringify({ endpoint, ...storageKey(endpoint) });
    const registryFile = process.env["KE1_REGISTRY_CREDENTIAL_FILE"];
    const files: Record<string, string> = { credential };
    if (registryFile) {
        files["registry"] = fs.readFileSync(registryFile, "utf8");
    }
    await cluster().putSecret(required("KE1_NAMESPACE"), secret, labels, files);
    process.stdout.write(JSON.stringify({ secret }));
}

/** Takes the Secret away. */
export async function revokeStore(): Promise<void> {
    await cluster().deleteSecret(required("KE1_NAMESPACE"), required("KE1_SECRET"));
}

/**
 * Makes the directory of the embedded platform's node that a service keeps its data in, for the user that it is, and starts
 * the gateway by which its pod reaches API server and registry.
 */
export async function makeServiceDirectory(): Promise<void> {
    const directory = serviceDirectory();
    const owner = Number(required("KE1_SERVICE_OWNER"));
    fs.mkdirSync(path.dirname(directory), { recursive: true, mode: 0o700 });
    fs.mkdirSync(directory, { recursive: true });
    fs.chownSync(directory, owner, owner);
    // As kubelet leaves a volume of this group: otherwise it would open all of it to the group.
    fs.chmodSync(directory, 0o2770);
    await platformUp({ quiet: true });
    process.stdout.write("{}");
}

/** Removes it with all that is in it: the queue, and the state of its builds' stacks; the gateway ends with the last one. */
export async function removeServiceDirectory(): Promise<void> {
    fs.rmSync(serviceDirectory(), { recursive: true, force: true });
    if (!hasServices(ke1Home())) {
        await stopDaemon(readSettings(), "gateway", 1000);
    }
}

/** @throws UserError for any directory but one of those that are made for this. */
function serviceDirectory(): string {
    const directory = required("KE1_SERVICE_DIRECTORY");
    if (!/^[a-z0-9-]+$/.test(path.basename(directory)) || path.dirname(directory) !== servicesDirectory()) {
        throw new UserError(
            `${directory} is not a directory of a service below ${servicesDirectory()}; is KE1_HOME as it was?`,
        );
    }
    return directory;
}

function cluster(): Cluster {
    return Cluster.connect({
        kubeconfig: process.env["KE1_KUBECONFIG"] ?? "",
        context: process.env["KE1_KUBE_CONTEXT"] ?? "",
    });
}

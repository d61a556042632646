import { awaitPolicy } from "../launcher/admission";
import { Cluster } from "../launcher/cluster";
import { containerSas } from "../launcher/store";
import { notifierOf } from "./awaitJob";
import { runPipeline } from "./pipelineAgent";
import { openStore, required, storageCredential } from "./context";

/** Makes the blob container if there is none. */
export async function createStore(): Promise<void> {
    const container = required("KE1_BLOB_CONTAINER");
    await openStore(`${required("KE1_BLOB_ENDPOINT")}/${container}`).create();
    process.stdout.write(JSON.stringify({ container }));
}

/** Makes a SAS and brings it to the cluster; prints only the name of its Secret. */
export async function grantIdentity(): Promise<void> {
    const endpoint = required("KE1_BLOB_ENDPOINT");
    const secret = required("KE1_SECRET");
    const validFrom = required("KE1_VALID_FROM");
    const sas = containerSas(storageCredential(endpoint), endpoint, required("KE1_BLOB_CONTAINER"), validFrom);
    const labels = { "app.kubernetes.io/name": "ke-1-build", "app.kubernetes.io/managed-by": "ke1" };
    await cluster().putSecret(required("KE1_NAMESPACE"), secret, labels, { sas });
    process.stdout.write(JSON.stringify({ secret, validFrom }));
}

/** Takes the Secret away. */
export async function revokeIdentity(): Promise<void> {
    await cluster().deleteSecret(required("KE1_NAMESPACE"), required("KE1_SECRET"));
}

/** Waits until the cluster judges Jobs by the stack's rules; prints the policy's name. */
export async function awaitAdmission(): Promise<void> {
    const name = required("KE1_POLICY");
    await awaitPolicy(cluster(), {
        name,
        namespace: required("KE1_NAMESPACE"),
        version: required("KE1_POLICY_VERSION"),
        rules: JSON.parse(required("KE1_POLICY_RULES")) as readonly string[],
    });
    process.stdout.write(JSON.stringify({ policy: name }));
}

function cluster(): Cluster {
    return Cluster.connect({
        kubeconfig: process.env["KE1_KUBECONFIG"] ?? "",
        context: process.env["KE1_KUBE_CONTEXT"] ?? "",
    });
}

/** Runs a pipeline to its end. */
export async function awaitPipeline(): Promise<void> {
    const kubernetes = cluster();
    await runPipeline(kubernetes, () => notifierOf(kubernetes, process.env, (text) => process.stderr.write(text)));
}

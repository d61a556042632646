import type { V1Job } from "@kubernetes/client-node";

import { buildTagLabel } from "../../contract/labels";
import { exchangeAudience } from "./entra";

export interface IdentityBuild {
    readonly namespace: string;
    readonly job: string;
    readonly buildTag: string;
    readonly serviceAccount: string;
    readonly tree: string;
    /** What the build runs. */
    readonly script: string;
    readonly containerUrl: string;
    readonly baseImage: string;
    readonly exporterImage: string;
    readonly clientId: string;
    readonly tenantId: string;
    readonly authority: string;
}

const tokenDirectory = "/var/run/secrets/azure/tokens";

/**
 * A build's Job as a cluster on Azure would have it: volume and environment of the exporter are what the workload identity
 * webhook injects for a pod with `azure.workload.identity/skip-containers: build`
 * (https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html).
 */
export function identityBuild(build: IdentityBuild): V1Job {
    const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
    const shared = { name: "shared", mountPath: "/ke1/shared" };
    // By which the launcher watches Jobs and pods.
    const labels = { [buildTagLabel]: build.buildTag };
    return {
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { namespace: build.namespace, name: build.job, labels },
        spec: {
            backoffLimit: 1,
            activeDeadlineSeconds: 60,
            podReplacementPolicy: "Failed",
            podFailurePolicy: {
                rules: [
                    { action: "FailJob", onExitCodes: { containerName: "exporter", operator: "In", values: [2, 3] } },
                ],
            },
            template: {
                metadata: { labels },
                spec: {
                    restartPolicy: "Never",
                    serviceAccountName: build.serviceAccount,
                    automountServiceAccountToken: false,
                    enableServiceLinks: false,
                    dnsPolicy: "Default",
                    securityContext: {
                        runAsNonRoot: true,
                        runAsUser: 65_532,
                        runAsGroup: 65_532,
                        fsGroup: 65_532,
                        seccompProfile: { type: "RuntimeDefault" },
                    },
                    containers: [
                        {
                            name: "build",
                            image: build.baseImage,
                            command: ["/bin/sh", "/ke1/bin/wrap", "sh", "-c", build.script],
                            workingDir: "/src",
                            env: [{ name: "KE1_DIR", value: shared.mountPath }],
                            securityContext: restricted,
                            volumeMounts: [
                                shared,
                                { name: "wrapper", mountPath: "/ke1/bin" },
                                { name: "source", mountPath: "/src" },
                            ],
                        },
                        {
                            name: "exporter",
                            image: build.exporterImage,
                            env: exporterEnvironment(build),
                            securityContext: { ...restricted, readOnlyRootFilesystem: true },
                            volumeMounts: [
                                shared,
                                { name: "authority", mountPath: "/ke1/authority" },
                                { name: "azure-identity-token", mountPath: tokenDirectory, readOnly: true },
                            ],
                        },
                    ],
                    volumes: [
                        { name: "shared", emptyDir: {} },
                        { name: "source", emptyDir: {} },
                        { name: "wrapper", configMap: { name: "wrapper", defaultMode: 0o555 } },
                        { name: "authority", configMap: { name: "authority" } },
                        {
                            name: "azure-identity-token",
                            projected: {
                                sources: [
                                    {
                                        serviceAccountToken: {
                                            path: "azure-identity-token",
                                            expirationSeconds: 3600,
                                            audience: exchangeAudience,
                                        },
                                    },
                                ],
                            },
                        },
                    ],
                },
            },
        },
    };
}

function exporterEnvironment(build: IdentityBuild) {
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const values = {
        KE1_DIR: "/ke1/shared",
        KE1_BUILD_TAG: build.buildTag,
        KE1_CONTAINER_URL: build.containerUrl,
        KE1_CREDENTIAL_PATIENCE: "3s",
        KE1_SOURCE_TREE: build.tree,
        KE1_COMMAND: JSON.stringify(["make", "build"]),
        KE1_IMAGE: build.baseImage,
        SSL_CERT_FILE: "/ke1/authority/ca.crt",
        AZURE_CLIENT_ID: build.clientId,
        AZURE_TENANT_ID: build.tenantId,
        AZURE_AUTHORITY_HOST: build.authority,
        AZURE_FEDERATED_TOKEN_FILE: `${tokenDirectory}/azure-identity-token`,
    };
    return [
        ...Object.entries(values).map(([name, value]) => ({ name, value })),
        field("KE1_JOB_NAMESPACE", "metadata.namespace"),
        field("KE1_JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
        field("KE1_POD_NAME", "metadata.name"),
        field("KE1_POD_UID", "metadata.uid"),
        field("KE1_NODE_NAME", "spec.nodeName"),
    ];
}

/**
 * Fields that cannot be changed on an object that is there, by kind; `[*]` stands for any element. The list is that of the
 * Pulumi Kubernetes provider (provider/pkg/provider/diff.go), so that both engines replace the same resources.
 */
const immutableFields: Readonly<Record<string, readonly string[]>> = {
    "apps/v1/DaemonSet": [".spec.selector"],
    "apps/v1/Deployment": [".spec.selector"],
    "apps/v1/StatefulSet": [
        ".spec.podManagementPolicy",
        ".spec.revisionHistoryLimit",
        ".spec.selector",
        ".spec.serviceName",
        ".spec.volumeClaimTemplates",
    ],
    "batch/v1/Job": [".spec.completions", ".spec.parallelism", ".spec.selector", ".spec.template"],
    "policy/v1beta1/PodDisruptionBudget": [".spec"],
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": [".roleRef"],
    "rbac.authorization.k8s.io/v1/RoleBinding": [".roleRef"],
    "storage.k8s.io/v1/StorageClass": [".parameters", ".provisioner"],
    "v1/PersistentVolume": [
        ...["awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"],
        ...[
            "gcePersistentDisk",
            "glusterfs",
            "hostPath",
            "iscsi",
            "local",
            "nfs",
            "photonPersistentDisk",
            "portworxVolume",
        ],
        ...["quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"],
    ].map((source) => `.spec.${source}`),
    "v1/PersistentVolumeClaim": [".spec.accessModes", ".spec.selector", ".spec.storageClassName", ".spec.volumeName"],
    "v1/Pod": [
        ...["affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases"],
        ...[
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "hostname",
            "imagePullSecrets",
            "nodeName",
            "nodeSelector",
            "overhead",
        ],
        ...["preemptionPolicy", "priority", "priorityClassName", "readinessGates", "restartPolicy", "runtimeClassName"],
        ...["schedulerName", "securityContext", "serviceAccount", "serviceAccountName", "shareProcessNamespace"],
        ...["subdomain", "terminationGracePeriodSeconds", "volumes"],
        ...["containers[*]", "initContainers[*]"].flatMap((containers) =>
            [
                ...["args", "command", "env", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "ports"],
                ...["readinessProbe", "resources", "securityContext", "stdin", "stdinOnce", "terminationMessagePath"],
                ...["terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts", "workingDir"],
            ].map((field) => `${containers}.${field}`),
        ),
    ].map((field) => `.spec.${field}`),
    "v1/ResourceQuota": [".spec.scopes"],
    "v1/Secret": [".type"],
    "v1/Service": [".spec.clusterIP"],
};

export function forceNewPaths(
    { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
    mutable: { readonly configMap: boolean; readonly secret: boolean },
    immutable: boolean,
): readonly string[] {
    const identity = [".metadata.name", ".metadata.namespace"];
    const key = `${apiVersion}/${kind}`;
    if (key === "v1/Secret" && (!mutable.secret || immutable)) {
        return [...identity, ".type", ".data", ".stringData"];
    }
    if (key === "v1/ConfigMap" && (!mutable.configMap || immutable)) {
        return [...identity, ".data", ".binaryData"];
    }
    return [...identity, ...(immutableFields[key] ?? [])];
}

import { buildTagLabel, identityLabel, skippedContainers as skipped } from "../contract/labels";
import { digestReference } from "../contract/patterns";

/** A named expression that rules use as `variables.<name>`. It may use those before it. */
export interface Variable {
    readonly name: string;
    readonly expression: string;
}

/** What must hold of a Job: an expression in CEL that is true, and the one line that is told otherwise. */
export interface Rule {
    readonly name: string;
    readonly expression: string;
    /** An expression too, of a string: what is wrong, and what to do. */
    readonly messageExpression: string;
}

/** The one container that may hold the store's credential. */
const exporter = "exporter";
/** The one that runs what is built. */
const build = "build";
/** The exporter's credential is good for at least this long (components/buildIdentity.ts). */
const longestDeadline = 86_400;

/** Of each container that `condition` (on `c`) holds for: its name. */
function names(list: string, condition: string): string {
    return `variables.${list}.filter(c, ${condition}).map(c, c.name)`;
}

/** A container's own setting takes the place of the pod's. */
function effective(field: string, otherwise: string): string {
    const own = `c.?securityContext.?${field}`;
    return `(${own}.hasValue() ? ${own} : variables.pod.?securityContext.?${field}).orValue(${otherwise})`;
}

/** A rule on containers: none may be in the list of names. */
function noneOf(name: string, advice: string): Rule {
    return {
        name,
        expression: `size(variables.${name}) == 0`,
        messageExpression: `"container " + variables.${name}.join(", ") + ${quoted(`: ${advice}`)}`,
    };
}

function rule(name: string, expression: string, message: string): Rule {
    return { name, expression, messageExpression: quoted(message) };
}

/** A string in CEL. */
export function quoted(text: string): string {
    return JSON.stringify(text);
}

const requests = "c.?resources.?requests.orValue({})";

/**
 * What the rules on containers are about. `running` are those that run beside one another, and `wants` what each of them
 * wants in words.
 */
export const variables: readonly Variable[] = [
    { name: "pod", expression: "object.spec.template.spec" },
    { name: "init", expression: "variables.pod.?initContainers.orValue([])" },
    { name: "containers", expression: "variables.pod.containers + variables.init" },
    { name: "others", expression: `variables.containers.filter(c, c.name != ${quoted(exporter)})` },
    {
        name: "running",
        expression: 'variables.pod.containers + variables.init.filter(c, c.?restartPolicy.orValue("") == "Always")',
    },
    {
        name: "wants",
        expression:
            `variables.containers.map(c, c.name + " " + (["cpu", "memory", "ephemeral-storage"]` +
            `.filter(r, string(${requests}[?r].orValue("0")) != "0") + ${requests}.filter(r, r.contains("/")))` +
            `.map(r, r + "=" + string(c.resources.requests[r])).join(","))`,
    },
    {
        name: "secretVolumes",
        expression:
            "variables.pod.?volumes.orValue([]).filter(v, has(v.secret) || has(v.csi) || " +
            "v.?projected.?sources.orValue([]).exists(s, has(s.secret) || has(s.serviceAccountToken))).map(v, v.name)",
    },
    {
        name: "imageByDigest",
        expression: names("containers", `!c.?image.orValue("").matches(${quoted(digestReference.source)})`),
    },
    {
        name: "exportersSecrets",
        expression:
            "variables.pod.?volumes.orValue([]).filter(v, has(v.secret) && variables.pod.containers.exists(e, " +
            `e.name == ${quoted(exporter)} && e.?volumeMounts.orValue([]).exists(m, m.name == v.name)))` +
            `.map(v, v.secret.?secretName.orValue(""))`,
    },
    {
        // Those that it mounts, and those of another name with a Secret of its.
        name: "exportersVolumes",
        expression:
            "variables.secretVolumes.filter(v, variables.pod.containers.exists(e, " +
            `e.name == ${quoted(exporter)} && e.?volumeMounts.orValue([]).exists(m, m.name == v))) + ` +
            "variables.pod.?volumes.orValue([]).filter(v, " +
            `v.?secret.?secretName.orValue("") in variables.exportersSecrets || ` +
            `v.?projected.?sources.orValue([]).exists(s, s.?secret.?name.orValue("") in variables.exportersSecrets))` +
            ".map(v, v.name)",
    },
    {
        name: "secretMounted",
        expression: names(
            "others",
            `c.name == ${quoted(build)} && c.?volumeMounts.orValue([]).exists(m, m.name in variables.secretVolumes)`,
        ),
    },
    {
        name: "exportersSecret",
        expression: names("others", "c.?volumeMounts.orValue([]).exists(m, m.name in variables.exportersVolumes)"),
    },
    {
        name: "secretInEnvironment",
        expression: names(
            "others",
            "c.?env.orValue([]).exists(e, has(e.valueFrom) && has(e.valueFrom.secretKeyRef)) || " +
                "c.?envFrom.orValue([]).exists(e, has(e.secretRef))",
        ),
    },
    {
        name: "identity",
        expression:
            `object.spec.template.?metadata.?labels[?${quoted(identityLabel)}].orValue("") == "true" ? ` +
            `variables.others.filter(c, !object.spec.template.metadata.?annotations[?${quoted(skipped)}].orValue("")` +
            `.split(";").exists(n, n.trim() == c.name)).map(c, c.name) : []`,
    },
    { name: "nonRoot", expression: names("containers", `!${effective("runAsNonRoot", "false")}`) },
    { name: "root", expression: names("containers", `${effective("runAsUser", "1")} == 0`) },
    {
        name: "seccomp",
        expression: names("containers", `${effective("seccompProfile.?type", '""')} != "RuntimeDefault"`),
    },
    { name: "privileged", expression: names("containers", "c.?securityContext.?privileged.orValue(false)") },
    {
        name: "escalation",
        expression: names("containers", "c.?securityContext.?allowPrivilegeEscalation.orValue(true)"),
    },
    {
        name: "capabilities",
        expression: names(
            "containers",
            '!("ALL" in c.?securityContext.?capabilities.?drop.orValue([])) || ' +
                "size(c.?securityContext.?capabilities.?add.orValue([])) > 0",
        ),
    },
];

const labels = "object.metadata.?labels";
const templateLabels = "object.spec.template.?metadata.?labels";
const tag = `[?${quoted(buildTagLabel)}].orValue("")`;

/** Whether what `list` (of containers) wants of each resource is on one node, `n`, of those that are known. */
function fits(list: string): string {
    const sum =
        `variables.${list}.filter(d, r in d.?resources.?requests.orValue({}))` +
        `.map(d, quantity(string(d.resources.requests[r])).asApproximateFloat()).sum()`;
    const offered = 'n.split(",").filter(o, o.startsWith(r + "="))';
    return (
        `variables.${list}.all(c, ${requests}.all(r, ` +
        // What a node of Kubernetes always has need not be told; a GPU must.
        `size(${offered}) == 0 ? !r.contains("/") : ` +
        `${offered}.exists(o, quantity(o.substring(size(r) + 1)).asApproximateFloat() >= ${sum})))`
    );
}

/**
 * What every build Job must be. The cluster evaluates them when a Job is made, the program before anything is sent: of the
 * first that does not hold, the message is told.
 *
 * The rules on pods are those of Pod Security `restricted`
 * (https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted), which judges a Job's pods when it is too
 * late to say so to whoever made the Job; and what a credential must be kept from.
 */
export const rules: readonly Rule[] = [
    rule(
        "buildTag",
        `${labels}${tag} != "" && ${templateLabels}${tag} == ${labels}${tag}`,
        `label the Job and its pod template ${buildTagLabel}=<BUILD_TAG>: nothing says what it builds`,
    ),
    noneOf("imageByDigest", "name the image by digest (repository@sha256:...): a tag can be moved to another"),
    rule(
        "serviceAccountToken",
        "!variables.pod.?automountServiceAccountToken.orValue(true)",
        "set automountServiceAccountToken to false: the build would hold a token for the cluster",
    ),
    rule(
        "containers",
        `variables.pod.containers.exists(c, c.name == ${quoted(build)}) && ` +
            `variables.pod.containers.exists(c, c.name == ${quoted(exporter)})`,
        `name the container that builds ${build}, and the one that stores what it made ${exporter}: rules go by the names`,
    ),
    noneOf("secretMounted", "leave out its volumes with a Secret or a token: what is built could read it"),
    noneOf("exportersSecret", "leave out the exporter's volumes with a Secret or a token: they are its alone"),
    noneOf("secretInEnvironment", "leave out the Secret in its environment: what is built could print it"),
    noneOf("identity", `add it to the annotation ${skipped}: the store's token would be given to it`),
    rule(
        "processes",
        "!variables.pod.?shareProcessNamespace.orValue(false)",
        "leave out shareProcessNamespace: the build could read the exporter's memory and files",
    ),
    rule(
        "hostNamespaces",
        "!variables.pod.?hostNetwork.orValue(false) && !variables.pod.?hostPID.orValue(false) && " +
            "!variables.pod.?hostIPC.orValue(false)",
        "leave out hostNetwork, hostPID and hostIPC: a build must not see what else runs on the node",
    ),
    rule(
        "hostPath",
        "variables.pod.?volumes.orValue([]).all(v, !has(v.hostPath))",
        "leave out volumes with hostPath: they are the node's own disk",
    ),
    noneOf("privileged", "leave out privileged: it is root on the node"),
    noneOf("nonRoot", "set runAsNonRoot to true"),
    noneOf("root", "set runAsUser to another user than 0, root"),
    noneOf("escalation", "set allowPrivilegeEscalation to false: setuid programs give more rights without it"),
    noneOf("capabilities", "set capabilities.drop to [ALL], and leave out capabilities.add"),
    noneOf("seccomp", "set seccompProfile.type to RuntimeDefault: all system calls are open without it"),
    rule(
        "deadline",
        "object.spec.?activeDeadlineSeconds.orValue(0) >= 1 && " +
            `object.spec.?activeDeadlineSeconds.orValue(0) <= ${longestDeadline}`,
        `set activeDeadlineSeconds (deadlineSeconds) to 1 to ${longestDeadline}: a build that hangs would never end`,
    ),
    rule(
        "reaping",
        "has(object.spec.ttlSecondsAfterFinished)",
        "set ttlSecondsAfterFinished: nothing would remove the Job when it is over",
    ),
    rule(
        "onePod",
        "object.spec.?parallelism.orValue(1) == 1 && object.spec.?completions.orValue(1) == 1 && " +
            'variables.pod.?restartPolicy.orValue("") == "Never"',
        "set completions and parallelism to 1 and restartPolicy to Never: a build is one pod, and each attempt a new one",
    ),
    rule(
        "scheduler",
        'variables.pod.?nodeName.orValue("") == ""',
        "leave out nodeName: it passes by the scheduler, and what keeps nodes apart; use nodeRequirements",
    ),
    rule(
        "tolerations",
        'variables.pod.?tolerations.orValue([]).all(t, t.?key.orValue("") != "")',
        "name the key of each toleration: one without bears with every taint, also those of broken nodes",
    ),
    {
        name: "nodeSize",
        expression:
            'variables.nodes == "" || ' +
            `variables.nodes.split(";").exists(n, ${fits("running")} && ` +
            // Those before the build run one at a time.
            `variables.init.all(i, i.?resources.?requests.orValue({}).all(r, ` +
            `n.split(",").filter(o, o.startsWith(r + "=")).all(o, quantity(o.substring(size(r) + 1))` +
            `.asApproximateFloat() >= quantity(string(i.resources.requests[r])).asApproximateFloat()))))`,
        messageExpression:
            '"no node is large enough (" + variables.wants.join("; ") + "), as the largest have " + ' +
            'variables.nodes.split(";").join(" or ") + ": lower cpuRequest, memoryRequest or ' +
            'extendedResources, or bring nodeSizes up to date"',
    },
];

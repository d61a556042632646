/**
 * The repositories of an envelope of Docker's registry in which something was pushed
 * (https://distribution.github.io/distribution/about/notifications/#envelope).
 */
export function repositoriesOfEnvelope(document: unknown): readonly string[] {
    const events = field(document, "events");
    const pushed = (Array.isArray(events) ? (events as readonly unknown[]) : [])
        .filter((event) => field(event, "action") === "push" || field(event, "action") === "mount")
        .map((event) => field(field(event, "target"), "repository"))
        .filter((repository) => typeof repository === "string");
    return [...new Set(pushed)];
}

/**
 * The repository of a container's package at GitHub
 * (https://docs.github.com/webhooks/webhook-events-and-payloads#package).
 */
export function repositoryOfPackage(event: string, document: unknown): readonly string[] {
    // GitHub sends both for one push, under names of different years.
    const item = field(document, event === "registry_package" ? "registry_package" : "package");
    const [kind, namespace, name] = ["package_type", "namespace", "name"].map((key) => field(item, key));
    const isContainer = typeof kind === "string" && /^(container|docker)$/i.test(kind);
    if (!isContainer || typeof name !== "string" || typeof namespace !== "string") {
        return [];
    }
    return [`${namespace}/${name}`.toLowerCase()];
}

function field(value: unknown, key: string): unknown {
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined;
}

/** The label of a dependency's pods, and its name as the value. */
export const dependencyLabel = "ke1.dev/dependency";

/** The label of a build's pod that may reach a dependency. */
export function needLabel(name: string): string {
    return `ke1.dev/needs-${name}`;
}

/** The Deployment of a dependency, and the ConfigMap that says where its pod is. */
export function dependencyObject(name: string): string {
    return `ke1-dependency-${name}`;
}

/** The annotation of a Deployment that says who has it: JSON, the end of each lease (ISO 8601) by its holder. */
export const leasesAnnotation = "ke1.dev/leases";

/** What a build is told of a dependency. */
export function dependencyVariables(
    name: string,
    host: string,
    ports: readonly number[],
): Readonly<Record<string, string>> {
    const prefix = `KE1_DEPENDENCY_${name.toUpperCase().replaceAll("-", "_")}`;
    return {
        [`${prefix}_HOST`]: host,
        ...Object.fromEntries(ports.map((port, at) => [`${prefix}_PORT${at === 0 ? "" : `_${at + 1}`}`, String(port)])),
    };
}

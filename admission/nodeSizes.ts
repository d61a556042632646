import { UserError } from "../contract/errors";
import { Quantity } from "../contract/quantity";

/** What one kind of node offers, by resource: quantities. */
export type NodeSize = Readonly<Record<string, string>>;

/** https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources */
const resourceName = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?$/;

/** `cpu=8,memory=32Gi,nvidia.com/gpu=1`. */
export function parseNodeSize(text: string): NodeSize {
    const pairs = text.split(",").map((part) => part.trim().split("="));
    for (const [name = "", amount = "", ...more] of pairs) {
        if (!resourceName.test(name) || more.length > 0 || Quantity.parse(amount) === undefined) {
            throw new UserError(
                `nodeSizes has ${JSON.stringify(text)}; each must be what a node offers, such as "cpu=8,memory=32Gi,nvidia.com/gpu=1"`,
            );
        }
    }
    return Object.fromEntries(pairs as [string, string][]);
}

/** All sizes in one line, for the rules: those that another one exceeds in nothing are left out. */
export function nodesOf(sizes: readonly NodeSize[]): string {
    const different = sizes.filter((size, index) => !sizes.some((other, at) => covers(other, size, at < index)));
    const line = (size: NodeSize) =>
        Object.keys(size)
            .sort(byImportance)
            .map((name) => `${name}=${size[name] ?? ""}`)
            .join(",");
    return different.map(line).join(";");
}

/** Whether whatever fits `size` fits `other`; of two that are the same, the first stands for both. */
function covers(other: NodeSize, size: NodeSize, isBefore: boolean): boolean {
    const names = [...new Set([...Object.keys(other), ...Object.keys(size)])];
    const differences = names.map((name) => amount(other, name).compare(amount(size, name)));
    return differences.every((difference) => difference >= 0n) && (isBefore || differences.some((each) => each > 0n));
}

function amount(size: NodeSize, name: string): Quantity {
    const none = name.includes("/") ? "0" : "1E";
    return Quantity.parse(size[name] ?? none) ?? never(name);
}

function never(name: string): never {
    throw new Error(`${name} was not checked`);
}

function byImportance(a: string, b: string): number {
    const rank = (name: string) => ["cpu", "memory"].indexOf(name) + 1 || 3;
    return rank(a) - rank(b) || (a < b ? -1 : 1);
}

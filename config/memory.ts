import { UserError } from "../contract/errors";

/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
const factors: Readonly<Record<string, number>> = {
    "": 1,
    m: 1e-3,
    k: 1e3,
    M: 1e6,
    G: 1e9,
    T: 1e12,
    Ki: 2 ** 10,
    Mi: 2 ** 20,
    Gi: 2 ** 30,
    Ti: 2 ** 40,
};

/** The number that a Kubernetes quantity stands for. */
export function amountOf(quantity: string): number {
    const [, digits = "", suffix = ""] = /^([\d.]+)(\D*)$/.exec(quantity) ?? [];
    return Number(digits) * (factors[suffix] ?? NaN);
}

/**
 * What a build may use at first, and after each time that it ran out of memory: twice as much, up to the most. One step
 * where it is not to be tried again.
 *
 * @param most a quantity, or empty
 */
export function memorySteps(first: string, most: string): readonly string[] {
    if (most === "") {
        return [first];
    }
    if (amountOf(most) <= amountOf(first)) {
        throw new UserError(`memoryRetryLimit (${most}) must be more than memoryLimit (${first}), or empty`);
    }
    const [, digits = "", suffix = ""] = /^([\d.]+)(\D*)$/.exec(first) ?? [];
    const steps: string[] = [];
    for (let factor = 1; amountOf(first) * factor < amountOf(most); factor *= 2) {
        steps.push(`${Number(digits) * factor}${suffix}`);
    }
    return [...steps, most];
}

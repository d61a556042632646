import { UserError } from "../contract/errors";
import { Quantity } from "../contract/quantity";

/** The number that a Kubernetes quantity stands for. */
export function amountOf(quantity: string): number {
    return Quantity.parse(quantity)?.asNumber() ?? NaN;
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

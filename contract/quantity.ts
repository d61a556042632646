/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
const pattern = /^([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?\d{1,2}))?$/;

/** The smallest part of a quantity that Kubernetes keeps. */
const nanosInOne = 10n ** 9n;
const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binary: Readonly<Record<string, bigint>> = { Ki: 1n, Mi: 2n, Gi: 3n, Ti: 4n, Pi: 5n, Ei: 6n };

/** An amount as Kubernetes writes it (`500m`, `2Gi`), exact to a billionth, and rounded up beyond as there. */
export class Quantity {
    private constructor(private readonly nanos: bigint) {}

    /** @returns undefined for what is no quantity */
    public static parse(text: string): Quantity | undefined {
        const [, sign = "", digits = "", suffix = "", exponent = ""] = pattern.exec(text) ?? [];
        if (digits === "") {
            return undefined;
        }
        const [whole = "", fraction = ""] = digits.split(".");
        const power = Number(exponent || (decimal[suffix] ?? 0)) - fraction.length + 9;
        const scaled = BigInt(whole + fraction) * 1024n ** (binary[suffix] ?? 0n);
        const nanos = power >= 0 ? scaled * 10n ** BigInt(power) : ceiling(scaled, 10n ** BigInt(-power));
        return new Quantity(sign === "-" ? -nanos : nanos);
    }

    /** Less than 0, 0 or more than 0, as this is less, the same, or more. */
    public compare(other: Quantity): bigint {
        return this.nanos < other.nanos ? -1n : this.nanos > other.nanos ? 1n : 0n;
    }

    public add(other: Quantity): Quantity {
        return new Quantity(this.nanos + other.nanos);
    }

    public subtract(other: Quantity): Quantity {
        return new Quantity(this.nanos - other.nanos);
    }

    /** @returns undefined where it is not whole */
    public asInteger(): bigint | undefined {
        return this.nanos % nanosInOne === 0n ? this.nanos / nanosInOne : undefined;
    }

    public asNumber(): number {
        return Number(this.nanos) / Number(nanosInOne);
    }
}

function ceiling(dividend: bigint, divisor: bigint): bigint {
    return (dividend + divisor - 1n) / divisor;
}

import { lookup as resolve } from "node:dns/promises";
import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

import type { AddressGuard } from "../sources/addresses";

/** Which hosts may be told of builds: those that a request names are looked at first (service/sources/addresses.ts). */
export type Reach = Pick<AddressGuard, "allows">;

/** A host that a request named and that the service must not connect to. */
export class OutOfReach extends Error {
    public override readonly name = "OutOfReach";
}

/**
 * The addresses of a host. What is looked at here is what must be connected to: a name can have another address a moment
 * later.
 *
 * @throws OutOfReach where one of them is internal
 */
export async function reached(reach: Reach, host: string, port: string): Promise<readonly LookupAddress[]> {
    const name = host.replace(/^\[|\]$/g, "");
    // An address is its own.
    const found = await resolve(name, { all: true });
    if (!found.every(({ address }) => reach.allows(name, port, address))) {
        throw new OutOfReach(`${name} is not a public address, and the service's settings do not allow it`);
    }
    return found;
}

/** For what connects by a name: finds these addresses, whatever is asked. */
export function pinned(addresses: readonly LookupAddress[]): LookupFunction {
    return (_host, options, callback) => {
        const [first] = addresses;
        if (options.all) {
            callback(null, [...addresses]);
        } else {
            callback(null, first?.address ?? "", first?.family);
        }
    };
}

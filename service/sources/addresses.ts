import * as dns from "node:dns";
import { isIP, type LookupFunction } from "node:net";

import * as ipaddr from "ipaddr.js";

import { UserError } from "../../contract/errors";

/** Global unicast: the only part of IPv6 that is given out (https://www.iana.org/assignments/ipv6-address-space). */
const globalUnicast = ipaddr.IPv6.parseCIDR("2000::/3");
/** Azure's own services for a virtual machine, in the middle of public addresses (learn.microsoft.com, what-is-ip-address-168-63-129-16). */
const azurePlatform = "168.63.129.16";

/** Resolves a name to all its addresses. */
export type Resolve = (host: string) => Promise<readonly dns.LookupAddress[]>;

const systemResolve: Resolve = (host) => dns.promises.lookup(host, { all: true, order: "verbatim" });

/**
 * Whether an address is one that anybody on the Internet could reach: none of loopback, link-local, private, shared,
 * unspecified, multicast or reserved, and none of IPv6 that stands for one of IPv4 (mapped, 6to4, Teredo, NAT64).
 */
export function isPublicAddress(address: string): boolean {
    if (!ipaddr.isValid(address) || address === azurePlatform) {
        return false;
    }
    const parsed = ipaddr.parse(address);
    if (parsed.range() !== "unicast") {
        return false;
    }
    return parsed instanceof ipaddr.IPv4 || parsed.match(globalUnicast);
}

/** Decides which hosts and addresses a source may be fetched from. */
export class AddressGuard {
    private readonly hosts: readonly string[];
    private readonly blocks: readonly (readonly [ipaddr.IPv4 | ipaddr.IPv6, number])[];

    /**
     * @param allowed hosts and blocks that are reached although they are not public
     * @throws UserError where one of them is neither.
     */
    public constructor(
        allowed: readonly string[],
        private readonly resolveName: Resolve = systemResolve,
    ) {
        const blocks = allowed.map(parseBlock);
        this.blocks = blocks.flatMap((block) => (block ? [block] : []));
        this.hosts = allowed.filter((_, index) => !blocks[index]).map(checkedHost);
    }

    /** Whether a connection to `host`, which has this address, may be made. */
    public allows(host: string, port: string, address: string): boolean {
        return isPublicAddress(address) || this.isListed(host, port) || this.isInBlock(address);
    }

    /**
     * The addresses of a host that may be connected to.
     *
     * @throws UserError, one line, where there is none, or one of them may not be: a name with both is an attempt at the latter.
     */
    public async resolve(host: string, port: string): Promise<readonly dns.LookupAddress[]> {
        const name = unbracketed(host);
        const family = isIP(name);
        const found = family === 0 ? await this.lookUp(name) : [{ address: name, family }];
        const refused = found.find(({ address }) => !this.allows(name, port, address));
        if (refused) {
            throw refusal(name, refused.address);
        }
        return found;
    }

    /** For `net.connect`: what it gives is what is connected to, so nothing can change in between. */
    public lookup(port: string): LookupFunction {
        return (host, options, callback) => {
            this.resolve(host, port).then(
                (found) => {
                    const fitting = found.filter(({ family }) => !options.family || family === options.family);
                    const [first] = fitting;
                    if (options.all) {
                        callback(null, [...fitting]);
                    } else if (first) {
                        callback(null, first.address, first.family);
                    } else {
                        callback(new UserError(`${host} has no address that can be used here`), "", 0);
                    }
                },
                (error: unknown) => callback(error as Error, "", 0),
            );
        };
    }

    private async lookUp(name: string): Promise<readonly dns.LookupAddress[]> {
        try {
            const found = await this.resolveName(name);
            if (found.length > 0) {
                return found;
            }
        } catch (error) {
            const { code } = error as NodeJS.ErrnoException;
            if (code !== "ENOTFOUND" && code !== "ENODATA") {
                throw new UserError(`the address of ${name} could not be found (${code ?? "no answer"}); try again`);
            }
        }
        throw new UserError(`there is no host ${name}; look at the source's address`);
    }

    private isListed(host: string, port: string): boolean {
        const name = host.toLowerCase().replace(/\.$/, "");
        return this.hosts.some((pattern) => {
            const [, entry = "", only] = /^(.*?)(?::(\d+))?$/.exec(pattern) ?? [];
            const fits = entry.startsWith("*.") ? name.endsWith(entry.slice(1)) : name === entry;
            return fits && (only === undefined || only === port);
        });
    }

    private isInBlock(address: string): boolean {
        if (!ipaddr.isValid(address)) {
            return false;
        }
        // A mapped address is the one that is connected to.
        const parsed = ipaddr.process(address);
        return this.blocks.some(([base, bits]) => parsed.kind() === base.kind() && parsed.match([base, bits] as never));
    }
}

/** The port of a URL, also where it is the scheme's own. */
export function portOf(url: URL): string {
    return url.port || (url.protocol === "https:" ? "443" : "80");
}

export function unbracketed(host: string): string {
    return host.replace(/^\[|\]$/g, "");
}

function refusal(host: string, address: string): UserError {
    const shown = host === address ? address : `${host} (${address})`;
    return new UserError(
        `${shown} is not a public address, and sources come from no other; --allow-source can name it`,
    );
}

function parseBlock(text: string): readonly [ipaddr.IPv4 | ipaddr.IPv6, number] | undefined {
    if (ipaddr.isValidCIDR(text)) {
        return ipaddr.parseCIDR(text);
    }
    if (isIP(text) === 0) {
        return undefined;
    }
    const address = ipaddr.parse(text);
    return [address, address instanceof ipaddr.IPv4 ? 32 : 128];
}

function checkedHost(text: string): string {
    if (!/^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:\d{1,5})?$/i.test(text)) {
        throw new UserError(
            `allowSources has \`${text}\`; each must be a host, such as git.example.com, or a block, such as 10.1.0.0/16`,
        );
    }
    return text.toLowerCase();
}

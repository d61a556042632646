import { BlockList, isIP } from "node:net";

/** Private networks: RFC 1918 and RFC 4193. Not the link-local ones, where clouds have their metadata. */
const near = new BlockList();
near.addSubnet("127.0.0.0", 8, "ipv4");
near.addSubnet("10.0.0.0", 8, "ipv4");
near.addSubnet("172.16.0.0", 12, "ipv4");
near.addSubnet("192.168.0.0", 16, "ipv4");
near.addAddress("::1", "ipv6");
near.addSubnet("fc00::", 7, "ipv6");

/** Whether what goes there is encrypted, or stays on this machine or in a private network. */
export function isConfidential(url: URL): boolean {
    if (url.protocol === "https:") {
        return true;
    }
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const family = isIP(host);
    return family === 0 ? host === "localhost" : near.check(host, family === 4 ? "ipv4" : "ipv6");
}

import { UserError } from "../contract/errors";
import { readLocation } from "./azureLocations";
import type { Reader } from "./reader";

/** What the target `azure` needs beside the rest. Pulumi.yaml says what each key is for. */
export interface AzureSettings {
    readonly resourceGroup: string;
    readonly location: string;
    readonly storageAccount: string;
    /** What of the store was there before the stack, which then does not touch it. */
    readonly storageExists: StorageExists;
    readonly storageSku: StorageSku;
    /** IPv4 addresses and CIDR blocks. With these or `storageAllowedSubnets`, all others are turned away. */
    readonly storageAllowedAddresses: readonly string[];
    /** Resource ids of subnets with the service endpoint Microsoft.Storage. */
    readonly storageAllowedSubnets: readonly string[];
    /** CIDR blocks of the store's private endpoint; empty where it is reached by its public address. */
    readonly storagePrivateAddresses: readonly string[];
    readonly softDeleteDays: number;
    readonly logRetentionDays: number;
    readonly artifactCoolDays: number;
    /** 0 for none. */
    readonly immutabilityDays: number;
    /** The cluster's OIDC issuer; empty where the identity is given. */
    readonly oidcIssuer: string;
    /** The client id of an identity that another team has made; empty to make one. */
    readonly identityClientId: string;
    readonly networkPolicy: NetworkPolicyFlavor;
}

export type StorageExists = (typeof storageExists)[number];
const storageExists = ["nothing", "account", "container"] as const;
export type StorageSku = (typeof storageSkus)[number];
const storageSkus = ["Standard_ZRS", "Standard_LRS", "Standard_GRS", "Standard_GZRS"] as const;
export type NetworkPolicyFlavor = (typeof networkPolicies)[number];
const networkPolicies = ["kubernetes", "cilium"] as const;

/** https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftresources */
const resourceGroupName = /^(?=.{1,90}$)[-\w.()]*[-\w()]$/;
/** https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftstorage */
const accountName = /^[a-z0-9]{3,24}$/;
export const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const ipv4Block = /^((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!$|\/)|(?=$|\/))){4}(\/([12]?\d|3[0-2]))?$/;
const subnetId =
    /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.Network\/virtualNetworks\/[^/]+\/subnets\/[^/]+$/i;

/** @throws UserError, one line, for the first value that is missing or cannot be. */
export function readAzureSettings(read: Reader): AzureSettings {
    const storagePrivateAddresses = read.listMatching("storagePrivateAddresses", ipv4Block, "an IPv4 address or block");
    const settings: AzureSettings = {
        resourceGroup: read.required("resourceGroup", resourceGroupName, "the name of an existing resource group"),
        location: readLocation(read.required("location", /./, "a region of Azure, such as westeurope")),
        storageAccount: read.required("storageAccount", accountName, "3 to 24 of a-z and 0-9"),
        storageExists: read.choice("storageExists", storageExists),
        storageSku: read.choice("storageSku", storageSkus),
        storageAllowedAddresses: read.listMatching("storageAllowedAddresses", ipv4Block, "an IPv4 address or block"),
        storageAllowedSubnets: read.listMatching("storageAllowedSubnets", subnetId, "a subnet's resource id"),
        storagePrivateAddresses: storagePrivateAddresses.map((block) => (block.includes("/") ? block : `${block}/32`)),
        // Azure's limits: https://learn.microsoft.com/azure/storage/blobs/soft-delete-blob-overview
        softDeleteDays: read.integer("softDeleteDays", 30, 1, 365),
        logRetentionDays: read.integer("logRetentionDays", 90, 1, 36_500),
        artifactCoolDays: read.integer("artifactCoolDays", 30, 0, 36_500),
        // https://learn.microsoft.com/azure/storage/blobs/immutable-time-based-retention-policy-overview
        immutabilityDays: read.integer("immutabilityDays", 0, 0, 146_000),
        oidcIssuer: read.text("oidcIssuer"),
        identityClientId: read.matching("identityClientId", "", guid, "a GUID: the identity's client id"),
        networkPolicy: read.choice("networkPolicy", networkPolicies),
    };
    checkIssuer(settings);
    if (settings.immutabilityDays > settings.logRetentionDays) {
        throw new UserError(
            `immutabilityDays (${settings.immutabilityDays}) must not be more than logRetentionDays (${settings.logRetentionDays}): nothing can be deleted before`,
        );
    }
    if (settings.storageExists !== "nothing" && settings.storageAllowedAddresses.length > 0) {
        throw new UserError(
            "storageAllowedAddresses is for an account that the stack makes; storageExists says it is not",
        );
    }
    return settings;
}

function checkIssuer({ oidcIssuer, identityClientId }: AzureSettings): void {
    if (identityClientId !== "") {
        if (oidcIssuer !== "") {
            throw new UserError(
                "set either identityClientId (an identity that is given) or oidcIssuer (to make one), not both",
            );
        }
        return;
    }
    const how = "`az aks show --query oidcIssuerProfile.issuerUrl` prints it";
    if (oidcIssuer === "") {
        throw new UserError(
            `oidcIssuer is not set; it must be the cluster's OIDC issuer (${how}), or set identityClientId`,
        );
    }
    if (!URL.canParse(oidcIssuer) || new URL(oidcIssuer).protocol !== "https:" || /[?#*\s]/.test(oidcIssuer)) {
        throw new UserError(`oidcIssuer must be an https address (${how}); it is \`${oidcIssuer}\``);
    }
    // Entra compares it letter by letter with the token's `iss`.
    if (/\.oic\.prod-aks\.azure\.com/.test(oidcIssuer) && !oidcIssuer.endsWith("/")) {
        throw new UserError(`oidcIssuer of an AKS cluster ends in a slash: \`${oidcIssuer}/\``);
    }
}

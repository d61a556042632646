import { azureType, policy, settings } from "./rule";

interface StorageAccount {
    readonly networkRuleSet?: {
        readonly defaultAction?: string;
        readonly ipRules?: readonly unknown[];
        readonly virtualNetworkRules?: readonly unknown[];
        readonly resourceAccessRules?: readonly unknown[];
    };
}

const accountSettings = settings<StorageAccount>(
    { property: "kind", allowed: ["StorageV2"], why: "other kinds lack versions or lifecycle rules" },
    { property: "minimumTlsVersion", allowed: ["TLS1_2", "TLS1_3"], why: "older versions of TLS can be broken" },
    { property: "enableHttpsTrafficOnly", allowed: [true], why: "tokens and artifacts would cross networks in plain" },
    {
        property: "allowSharedKeyAccess",
        allowed: [false],
        why: "a shared key opens all of the account, is nobody's in particular, and can leak",
    },
    { property: "allowBlobPublicAccess", allowed: [false], why: "a container could be opened to everybody" },
    {
        property: "allowCrossTenantReplication",
        allowed: [false],
        why: "artifacts could be replicated to another organisation's account",
    },
    {
        property: "encryption.requireInfrastructureEncryption",
        allowed: [true],
        why: "a second layer of encryption can only be had when the account is made",
    },
);

export const storageAccount = policy<StorageAccount>({
    name: "storage-account",
    description: "The store is reached over TLS, by identities alone, and is encrypted twice.",
    types: azureType("storage", "StorageAccount"),
    examine: (account, check, options) => {
        accountSettings(account, check, options);
        check(() => {
            const { defaultAction, ipRules, virtualNetworkRules, resourceAccessRules } = account.networkRuleSet ?? {};
            const given = [ipRules, virtualNetworkRules, resourceAccessRules].some((rules) => rules?.length);
            return given && defaultAction !== "Deny"
                ? "set networkRuleSet.defaultAction to Deny: otherwise those whom no rule names are let in all the same"
                : undefined;
        });
    },
});

export const blobService = policy<object>({
    name: "blob-service",
    description: "What is overwritten or deleted by mistake can be had back.",
    types: azureType("storage", "BlobServiceProperties"),
    examine: settings(
        { property: "isVersioningEnabled", allowed: [true], why: "an overwritten blob would be lost" },
        { property: "deleteRetentionPolicy.enabled", allowed: [true], why: "a deleted blob would be lost" },
        {
            property: "containerDeleteRetentionPolicy.enabled",
            allowed: [true],
            why: "a deleted container would be lost",
        },
    ),
});

export const blobContainer = policy<object>({
    name: "blob-container",
    description: "Nobody reads the store without an identity.",
    types: azureType("storage", "BlobContainer"),
    examine: settings({ property: "publicAccess", allowed: ["None"], why: "everybody could read it" }),
});

/** A policy is told of `protect` and not of `retainOnDelete`: that one is the component's to keep. */
export const protectedStore = policy<object>({
    name: "store-protected",
    description: "`destroy` does not take the artifacts along.",
    types: azureType("storage", "StorageAccount", "BlobServiceProperties", "BlobContainer"),
    examine: (_, check, { protect }) => {
        check(() =>
            protect
                ? undefined
                : "set the resource option protect to true: the artifacts would be deleted with the stack",
        );
    },
});

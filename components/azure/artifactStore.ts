import * as storage from "@pulumi/azure-native/storage";
import * as pulumi from "@pulumi/pulumi";

import type { StorageExists, StorageSku } from "../../config/azure";

export interface AzureArtifactStoreArgs {
    readonly resourceGroup: string;
    readonly location: string;
    readonly account: string;
    readonly container: string;
    /** What is there already, and then is looked up and left as it is. */
    readonly exists: StorageExists;
    readonly sku: StorageSku;
    /** IPv4 addresses and CIDR blocks that may reach the account; with `allowedSubnets` empty too, all may. */
    readonly allowedAddresses: readonly string[];
    /** Resource ids of subnets that may reach the account. */
    readonly allowedSubnets: readonly string[];
    /** How long deleted blobs and containers can be had back, in days. */
    readonly softDeleteDays: number;
    /** Logs and the records of attempts are deleted after this, in days. */
    readonly logRetentionDays: number;
    /** Artifacts go to the cool tier after this, in days; 0 leaves them. */
    readonly artifactCoolDays: number;
    /** What is stored cannot be changed or deleted for this long, in days; 0 for no such rule. */
    readonly immutabilityDays: number;
}

/**
 * The blob container that logs and artifacts are kept in, and the storage account around it: reached over TLS by
 * identities alone, never by a shared key or without a name. All of it is protected and retained: destroying a stack must
 * not take the artifacts along.
 *
 * An account that is there already may be others' too: then only the container is made, and the account's own settings and
 * its lifecycle rules, of which an account has one set, are left alone.
 */
export class AzureArtifactStore extends pulumi.ComponentResource {
    /** The container's name, known once it is there. */
    public readonly container: pulumi.Output<string>;
    /** `<endpoint>/<container>`. */
    public readonly containerUrl: pulumi.Output<string>;
    /** The container's Azure resource id: the scope of whoever may use it. */
    public readonly containerId: pulumi.Output<string>;

    public constructor(name: string, args: AzureArtifactStoreArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:azure:ArtifactStore", name, {}, opts);
        const kept = { parent: this, protect: true, retainOnDelete: true };

        const account = args.exists === "nothing" ? declareAccount(name, args, kept) : lookUpAccount(args, this);
        const found = args.exists === "container" ? lookUpContainer(args, this) : undefined;
        const made = found
            ? undefined
            : new storage.BlobContainer(
                  `${name}-container`,
                  {
                      resourceGroupName: args.resourceGroup,
                      accountName: account,
                      containerName: args.container,
                      publicAccess: storage.PublicAccess.None,
                  },
                  kept,
              );
        this.container = made ? made.name : pulumi.output(args.container);
        this.containerId = made ? made.id : (found ?? pulumi.output(""));
        this.containerUrl = pulumi.interpolate`https://${account}.blob.core.windows.net/${this.container}`;

        if (made && args.immutabilityDays > 0) {
            new storage.BlobContainerImmutabilityPolicy(
                `${name}-immutability`,
                {
                    resourceGroupName: args.resourceGroup,
                    accountName: account,
                    containerName: made.name,
                    immutabilityPeriodSinceCreationInDays: args.immutabilityDays,
                    // A log grows while its build runs.
                    allowProtectedAppendWrites: true,
                },
                kept,
            );
        }

        this.registerOutputs({
            container: this.container,
            containerUrl: this.containerUrl,
            containerId: this.containerId,
        });
    }
}

/** The account with its settings and rules; its name, known once it is there. */
function declareAccount(
    name: string,
    args: AzureArtifactStoreArgs,
    opts: pulumi.CustomResourceOptions,
): pulumi.Output<string> {
    const account = new storage.StorageAccount(
        `${name}-account`,
        {
            resourceGroupName: args.resourceGroup,
            accountName: args.account,
            location: args.location,
            kind: storage.Kind.StorageV2,
            sku: { name: args.sku },
            accessTier: storage.AccessTier.Hot,
            minimumTlsVersion: storage.MinimumTlsVersion.TLS1_2,
            enableHttpsTrafficOnly: true,
            allowSharedKeyAccess: false,
            defaultToOAuthAuthentication: true,
            allowBlobPublicAccess: false,
            allowCrossTenantReplication: false,
            allowedCopyScope: storage.AllowedCopyScope.AAD,
            isLocalUserEnabled: false,
            isSftpEnabled: false,
            encryption: {
                keySource: storage.KeySource.Microsoft_Storage,
                // A second layer, which can only be had from the beginning.
                requireInfrastructureEncryption: true,
                services: { blob: { enabled: true, keyType: storage.KeyType.Account } },
            },
            networkRuleSet: networkRules(args),
        },
        opts,
    );
    const common = { resourceGroupName: args.resourceGroup, accountName: account.name };
    new storage.BlobServiceProperties(
        `${name}-blob-service`,
        {
            ...common,
            blobServicesName: "default",
            isVersioningEnabled: true,
            deleteRetentionPolicy: { enabled: true, days: args.softDeleteDays },
            containerDeleteRetentionPolicy: { enabled: true, days: args.softDeleteDays },
        },
        opts,
    );
    new storage.ManagementPolicy(
        `${name}-lifecycle`,
        { ...common, managementPolicyName: "default", policy: { rules: lifecycleRules(args) } },
        opts,
    );
    return account.name;
}

/** All are turned away but those that are named; nothing is said where nobody is named, which lets all in by their identity. */
function networkRules({
    allowedAddresses,
    allowedSubnets,
}: AzureArtifactStoreArgs): storage.StorageAccountArgs["networkRuleSet"] {
    if (allowedAddresses.length === 0 && allowedSubnets.length === 0) {
        return undefined;
    }
    return {
        defaultAction: storage.DefaultAction.Deny,
        bypass: storage.Bypass.None,
        ipRules: allowedAddresses.map((iPAddressOrRange) => ({ iPAddressOrRange, action: storage.Action.Allow })),
        virtualNetworkRules: allowedSubnets.map((virtualNetworkResourceId) => ({
            virtualNetworkResourceId,
            action: storage.Action.Allow,
        })),
    };
}

/**
 * A rule's prefix begins with the container, and below it comes the BUILD_TAG, so a rule cannot name `logs/`. But logs and
 * the records of attempts are append blobs, and what is kept are block blobs (contract/layout.ts).
 */
function lifecycleRules(args: AzureArtifactStoreArgs) {
    const prefixMatch = [`${args.container}/`];
    const records = {
        name: "logs-and-attempts",
        type: storage.RuleType.Lifecycle,
        enabled: true,
        definition: {
            filters: { blobTypes: ["appendBlob"], prefixMatch },
            actions: {
                baseBlob: { delete: { daysAfterModificationGreaterThan: args.logRetentionDays } },
                version: { delete: { daysAfterCreationGreaterThan: args.logRetentionDays } },
            },
        },
    };
    const artifacts = {
        name: "artifacts",
        type: storage.RuleType.Lifecycle,
        enabled: true,
        definition: {
            filters: { blobTypes: ["blockBlob"], prefixMatch },
            actions: { baseBlob: { tierToCool: { daysAfterModificationGreaterThan: args.artifactCoolDays } } },
        },
    };
    return args.artifactCoolDays > 0 ? [records, artifacts] : [records];
}

/** @returns the account's name, once it is known to be there */
function lookUpAccount(args: AzureArtifactStoreArgs, parent: pulumi.Resource): pulumi.Output<string> {
    const account = storage.getStorageAccountOutput(
        { resourceGroupName: args.resourceGroup, accountName: args.account },
        { parent },
    );
    return account.apply(({ name, allowSharedKeyAccess, allowBlobPublicAccess }) => {
        if (allowSharedKeyAccess !== false) {
            void pulumi.log.warn(
                `the storage account ${name} takes shared keys: whoever has one can change any build`,
                parent,
            );
        }
        if (allowBlobPublicAccess !== false) {
            void pulumi.log.warn(`the storage account ${name} allows containers to be made public`, parent);
        }
        return name;
    });
}

/** @returns the container's resource id; an error for one that anybody can read */
function lookUpContainer(args: AzureArtifactStoreArgs, parent: pulumi.Resource): pulumi.Output<string> {
    const container = storage.getBlobContainerOutput(
        { resourceGroupName: args.resourceGroup, accountName: args.account, containerName: args.container },
        { parent },
    );
    return container.apply(({ id, publicAccess }) => {
        if (publicAccess && publicAccess !== "None") {
            throw new pulumi.RunError(`the container ${args.container} is public (${publicAccess}); make it private`);
        }
        return id;
    });
}

import type { ResourceValidationPolicy } from "@pulumi/policy";

import { federation, roleAssignment, roleDefinition } from "./access";
import { admissionBinding, admissionPolicy } from "./admission";
import { egress, imageName, namespace, namedEgress } from "./cluster";
import { buildTag, credentials, imagesByDigest, restrictedPods } from "./jobs";
import { boundRole, noClusterRole, role, serviceToken } from "./service";
import { blobContainer, blobService, protectedStore, storageAccount } from "./store";

/** Everything that `docs/ci.md` lists; each policy is mandatory. */
export const policies: readonly ResourceValidationPolicy[] = [
    storageAccount,
    blobService,
    blobContainer,
    protectedStore,
    roleDefinition,
    roleAssignment,
    federation,
    imagesByDigest,
    buildTag,
    restrictedPods,
    credentials,
    namespace,
    egress,
    namedEgress,
    admissionPolicy,
    admissionBinding,
    imageName,
    role,
    boundRole,
    noClusterRole,
    serviceToken,
];

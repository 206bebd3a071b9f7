/** Every domain. */
import { Memory3Error } from '../../errors.ts';
import { contracts } from './contracts.ts';
import type { Domain } from './domain.ts';
import { policies } from './policies.ts';
import { textbook } from './textbook.ts';

export const domains: readonly Domain[] = [policies, contracts, textbook];

/** @throws Memory3Error "usage" naming those that there are */
export function domainNamed(name: string): Domain {
  const domain = domains.find((one) => one.name === name);
  if (domain !== undefined) return domain;
  throw new Memory3Error('usage', `There is no domain "${name}".`, {
    remedy: `Choose among ${domains.map((one) => one.name).join(', ')}.`,
  });
}

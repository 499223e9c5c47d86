// Takes every page of the console, in light and dark, on a phone and on a desktop;
// and those that the README shows, as they stand in a window.
//
//   USHER_STRANGERS  people with strange traits, with commas between

import path from 'node:path';
import { look, main, open } from './browser.mjs';
import { consoleURL, lookAtAll, setUp, signOut, visit } from './console-pages.mjs';

/** Takes a window of this height whose top is at a heading, or at the page's top. */
async function frame(page, name, colorScheme, height, heading) {
  await page.setViewportSize({ width: 1280, height });
  await page.emulateMedia({ colorScheme });
  await page.evaluate(() => scrollTo(0, 0));
  if (heading) await page.getByRole('heading', { name: heading }).first().evaluate((h) => scrollTo(0, h.getBoundingClientRect().top - 24));
  await page.screenshot({ path: path.join(process.env.USHER_SCREENSHOTS, `readme-${name}.png`) });
}

await main(async (browser) => {
  const identity = process.env.USHER_IDENTITY;
  const page = await open(browser);
  await page.goto(process.env.USHER_SETUP_LINK);
  await look(page, 'console-set-up');
  await setUp(page);
  await visit(page, '/console/settings', 'Authentication Settings');
  await page.getByRole('switch', { name: 'Sign In After Registration' }).uncheck();
  await page.getByRole('heading', { name: 'What your changes do' }).waitFor();
  await look(page, 'console-settings-changed');
  await frame(page, 'toggle', 'light', 860);
  await frame(page, 'plan', 'dark', 860, 'The steps, in order');
  await visit(page, `/console/registrations/${identity}`);
  await frame(page, 'timeline', 'light', 760, 'The answer');
  await visit(page, '/console/', 'Overview');
  await page.locator('.u-wrap').first().waitFor();
  await frame(page, 'overview', 'dark', 1000);
  await lookAtAll(page, look, identity);
  for (const [n, stranger] of process.env.USHER_STRANGERS.split(',').entries()) {
    await visit(page, `/console/identities/${stranger}`);
    await look(page, `console-identity-strange-${n + 1}`);
  }
  await page.goto(`${consoleURL}/console/`);
  await signOut(page);
  await look(page, 'console-sign-in');
});

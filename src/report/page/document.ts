import { escaped } from './html.js';
import { PAGE_STYLE } from './style.js';

/**
 * A file that needs nothing else: its policy (CSP) forbids browsers to run or to ask for anything, whatever names are in
 * it.
 * @param body HTML
 * @param version of epsim, where the file is to name what made it
 */
export function htmlDocument(title: string, body: string, version?: string): string {
  const generator =
    version === undefined ? '' : `<meta name="generator" content="epsim ${escaped(version)}">\n`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
${generator}<title>${escaped(title)} – epsim</title>
<style>${PAGE_STYLE}
</style>
</head>
<body>
${body}
</body>
</html>
`;
}

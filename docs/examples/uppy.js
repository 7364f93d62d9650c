// Uppy's dashboard over uploadd.
//
//   npm install @uppy/core @uppy/dashboard esbuild
//   npx esbuild uppy.js --bundle --format=esm --external:uploadd --outfile=uppy.bundle.js

import Uppy from "@uppy/core";
import Dashboard from "@uppy/dashboard";
import "@uppy/core/css/style.min.css";
import "@uppy/dashboard/css/style.min.css";
import Uploadd from "./uppy-uploadd.js";

export const uppy = new Uppy()
  .use(Dashboard, { inline: true, target: "#uppy", showProgressDetails: true })
  .use(Uploadd); // { server: "https://files.example.com" } where that is not where uploadd.js comes from
